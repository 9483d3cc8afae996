"""The Prefer header (RFC 7240): preferences known to PostgREST, and those that handling=strict refuses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Resolution = Literal["merge-duplicates", "ignore-duplicates"]
Representation = Literal["representation", "minimal", "headers-only"]
Count = Literal["exact", "planned", "estimated"]
End = Literal["commit", "rollback"]
Missing = Literal["default", "null"]
Handling = Literal["strict", "lenient"]

CHOICES = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "return": ("representation", "minimal", "headers-only"),
    "count": ("exact", "planned", "estimated"),
    "tx": ("commit", "rollback"),
    "missing": ("default", "null"),
    "handling": ("strict", "lenient"),
}
ACCEPTED = frozenset(f"{name}={value}" for name, values in CHOICES.items() for value in values)
FREE = ("timezone=", "max-affected=")
"""Preferences with a value of the client's own; never listed as invalid by their syntax."""
MAX_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Preferences:
    """None: not asked for, or with an unknown value. ``invalid``: unknown ones, as sent."""

    resolution: Resolution | None = None
    representation: Representation | None = None
    count: Count | None = None
    transaction: End | None = None
    missing: Missing | None = None
    handling: Handling | None = None
    timezone: str | None = None
    max_affected: int | None = None
    invalid: tuple[str, ...] = ()

    @classmethod
    def parse(cls, values: Iterable[str], *, may_end_transaction: bool = True) -> "Preferences":
        """From the values of all Prefer headers; of a repeated preference the first one counts.

        ``may_end_transaction``: whether tx= is honoured (PGRST_DB_TX_END …-allow-override).
        """
        sent = [one.strip() for value in values if value for one in value.split(",")]
        chosen: dict[str, Any] = {}
        for one in sent:
            name, _, value = one.partition("=")
            if one in ACCEPTED or one.startswith(FREE):
                chosen.setdefault(name, value)
        return cls(
            resolution=chosen.get("resolution"),
            representation=chosen.get("return"),
            count=chosen.get("count"),
            transaction=chosen.get("tx") if may_end_transaction else None,
            missing=chosen.get("missing"),
            handling=chosen.get("handling"),
            timezone=chosen.get("timezone"),
            max_affected=_int64(chosen.get("max-affected", "")),
            invalid=tuple(one for one in sent if one not in ACCEPTED and not one.startswith(FREE)),
        )

    @property
    def is_strict(self) -> bool:
        return self.handling == "strict"

    def applied(self) -> str | None:
        """The value of Preference-Applied, in upstream's order; None without any.

        The caller replaces those that do not concern the response by None: ``resolution`` is applied by inserts only.
        """
        limit = None if self.max_affected is None else str(self.max_affected)
        named = (
            ("resolution", self.resolution),
            ("missing", self.missing),
            ("return", self.representation),
            ("count", self.count),
            ("tx", self.transaction),
            ("handling", self.handling),
            ("timezone", self.timezone),
            ("max-affected", limit if self.is_strict else None),
        )
        return ", ".join(f"{name}={value}" for name, value in named if value is not None) or None


def _int64(text: str) -> int | None:
    """None for anything but a number of PostgreSQL's bigint."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        return None
    number = int(text)
    return number if -MAX_INT64 <= number <= MAX_INT64 else None
