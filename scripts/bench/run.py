"""One run: a PostgreSQL for all pages, their figures, what they were measured on; to and from JSON."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from scripts.bench.figures import Figure, gather
from scripts.bench.machine import circumstances
from scripts.bench.options import Bench, Options
from scripts.bench.pages import Page
from scripts.bench.peers.install import versions
from scripts.postgres import cluster, free_port
from scripts.schema import apply_schema


@dataclass
class Run:
    """``about``: method, machine, PostgreSQL, project, peers; JSON-able."""

    about: dict[str, Any]
    figures: list[Figure]

    def write(self, file: Path) -> None:
        values = {**self.about, "figures": [figure.to_json() for figure in self.figures]}
        file.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises OSError, ValueError."""
        about = json.loads(file.read_text("utf-8"))
        return cls(about, [Figure.from_json(values) for values in about.pop("figures")])


def measure(
    options: Options, pages: Mapping[str, Page], measured: Callable[[str, list[Figure]], None]
) -> Run:
    """Run ``pages`` on a new cluster; each page's figures go to ``measured`` as they are there."""
    began = time.monotonic()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        postgres = cluster(Path(folder), free_port())
        postgres.start(["max_connections=200", "wal_level=logical"])
        try:
            apply_schema(postgres.url)
            about = circumstances(postgres)
            for name, page in pages.items():
                of_page = gather(name, page.columns, page.rows(Bench(postgres, options)))
                measured(name, of_page)
                figures += of_page
        finally:
            postgres.stop("immediate")
    about["method"] = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": options.rows,
        "count": options.count,
        "took_s": round(time.monotonic() - began),
    }
    about["peers"] = versions() if options.peers else {}
    return Run(about, figures)
