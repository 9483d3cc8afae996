"""The environment of make bench, see ``__main__``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scripts.postgres import Postgres


@dataclass(frozen=True)
class Options:
    """How much is measured, and what becomes of it."""

    seconds: int = 1
    rounds: int = 5
    rows: int = 1_000_000
    count: int = 100
    peers: bool = False
    connections: tuple[int, ...] = (1, 64, 128)
    pages: tuple[str, ...] = ()
    out: Path = Path("bench.json")
    compare: Path | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Raises ValueError for what is no number."""
        compare = environ.get("COMPARE")
        return cls(
            seconds=int(environ.get("SECONDS", cls.seconds)),
            rounds=int(environ.get("ROUNDS", cls.rounds)),
            rows=int(environ.get("ROWS", cls.rows)),
            count=int(environ.get("COUNT", cls.count)),
            peers=environ.get("PEERS", "") not in ("", "0"),
            pages=tuple(environ.get("PAGES", "").split()),
            out=Path(environ.get("OUT") or cls.out),
            compare=Path(compare) if compare else None,
        )


@dataclass(frozen=True)
class Bench:
    """What a page is given: the cluster and the options."""

    postgres: Postgres
    options: Options

    @property
    def url(self) -> str:
        return self.postgres.url
