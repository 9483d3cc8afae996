"""Keyset pagination: a place in a list as text for an address, and a page of rows that a query has looked through.

A page's query reads at most a window of rows in the order of an index, keeps those that match, and yields the end of
the window as its last row: so a page of a filter that matches few costs as much as any, and its "Older" goes on there.
"""

from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, UTC, datetime
from typing import Any
from uuid import UUID

from functions._shared.errors import InvalidRequest

Row = dict[str, Any]


def page_of(rows: Sequence[Row], most: int, window: int) -> tuple[list[Row], str | None]:
    """The rows that match, and the place of the next page; None: there is nothing behind.

    ``rows``: those with ``seen`` 0 match, ``most`` at most; one with ``seen`` above 0 is the end of the window, and
    says how many rows are in it.
    """
    found = [row for row in rows if not row["seen"]]
    end = next((row for row in rows if row["seen"]), None)
    if len(found) == most:
        return found, place_of(found[-1])
    return found, place_of(end) if end and end["seen"] == window else None


def place_of(row: Mapping[str, Any]) -> str:
    return f"{row['at'].astimezone(UTC).isoformat()}_{row['id']}"


def place(text: str) -> tuple[datetime, UUID]:
    """The inverse of ``place_of``; the newest place for no text. Raises InvalidRequest."""
    if not text:
        return datetime(MAXYEAR, 12, 31, 23, 59, tzinfo=UTC), UUID(int=2**128 - 1)
    time, _, id_ = text.replace(" ", "+").partition("_")
    try:
        return datetime.fromisoformat(time).astimezone(UTC), UUID(id_)
    except (ValueError, OverflowError):
        raise InvalidRequest("This address does not name a place in the list") from None


def like(text: str) -> str:
    """A pattern of LIKE that holds ``text`` anywhere."""
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"
