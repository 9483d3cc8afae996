"""``limit=`` and ``offset=`` of the root and of embeds → windows.

Upstream computes with ranges of row numbers, and so do odd combinations here: a negative offset of the root shortens
its limit, and a limit that is no number counts as 0 beside an offset, alone as none.
"""

import re
from collections.abc import Mapping

from functions._platform.rest import errors
from functions._platform.rest.errors import RestError
from functions._platform.rest.query.tree import Path, Window

NUMBER = re.compile(r"\s*(-?[0-9]+)\s*")
MAX_DIGITS = 20
MAX_BIGINT = 2**63 - 1


def windows_of(limits: Mapping[Path, str], offsets: Mapping[Path, str]) -> dict[Path, Window]:
    """Raises RestError: PGRST103 (416) for a negative limit of the root, else what PostgreSQL says of the number."""
    windows = {}
    for path in {**limits, **offsets}:
        limit, offset = _number(limits.get(path)), _number(offsets.get(path))
        if path in limits and path in offsets:
            limit = limit or 0
        window = _of_embed(limit, offset or 0) if path else _of_root(limit, offset or 0)
        if window != Window():
            windows[path] = window
    return windows


def _of_root(limit: int | None, offset: int) -> Window:
    if limit is None:
        return Window(None, max(0, offset))
    end = offset + limit
    if end == 0:
        return Window(0, 0)
    if end <= max(0, offset):
        raise errors.negative_limit()
    return Window(end - max(0, offset), max(0, offset))


def _of_embed(limit: int | None, offset: int) -> Window:
    if offset < 0:
        raise RestError(400, "2201X", "OFFSET must not be negative")
    if limit is not None and limit < 0:
        raise RestError(400, "2201W", "LIMIT must not be negative")
    return Window(limit, offset)


def _number(text: str | None) -> int | None:
    """None for no number. Raises for one beyond bigint."""
    found = NUMBER.fullmatch(text or "")
    if found is None:
        return None
    number = int(found[1]) if len(found[1]) <= MAX_DIGITS else MAX_BIGINT + 1
    if abs(number) > MAX_BIGINT:
        raise RestError(400, "22003", f'value "{found[1]}" is out of range for type bigint')
    return number
