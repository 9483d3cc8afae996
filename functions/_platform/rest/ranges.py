"""The rows of the root that a request asks for: limit and offset, and the Range header of GET."""

import re

from functions._platform.rest import errors
from functions._platform.rest.query.tree import Query, Window

RANGE = re.compile(r"([0-9]+)-([0-9]*)")
ALL = Window()
MOST_ROWS = 10**18
"""Larger numbers count as this one: a bigint holds them, and their sums."""


def window_of(method: str, range_header: str | None, query: Query) -> Window:
    """The root's window: the Range header's rows within those of ``limit`` and ``offset``.

    Raises PGRST103 for an inverted Range header, PGRST114 for a PUT with a limit. A header of another unit or form is
    ignored (RFC 9110), and so is limit=0's: it asks for no row.
    """
    asked = query.windows.get((), ALL)
    if method == "PUT" and asked != ALL:
        raise errors.put_with_limit()
    if method != "GET" or range_header is None or asked.limit == 0:
        return asked
    return _within(asked, range_header)


def _within(asked: Window, header: str) -> Window:
    sent = RANGE.fullmatch(header)
    if sent is None:
        return asked
    first = _number(sent[1])
    last = _number(sent[2]) if sent[2] else None
    if last is not None and last < first:
        raise errors.inverted_range()
    offset = max(first, asked.offset)
    ends = [] if last is None else [last + 1]
    ends += [] if asked.limit is None else [asked.offset + asked.limit]
    if not ends:
        return Window(None, offset)
    if min(ends) <= offset:
        raise errors.negative_limit()
    return Window(min(ends) - offset, offset)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else MOST_ROWS
