"""The root's rows: limit and offset within the Range header's."""

import pytest

from functions._platform.rest.errors import RestError
from functions._platform.rest.query.tree import Query, Window
from functions._platform.rest.ranges import window_of


def asked(limit: int | None = None, offset: int = 0) -> Query:
    window = Window(limit, offset)
    return Query(windows={} if window == Window() else {(): window})


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        (asked(), None, Window()),
        (asked(5, 2), None, Window(5, 2)),
        (asked(), "0-4", Window(5)),
        (asked(), "3-", Window(None, 3)),
        (asked(), "3-3", Window(1, 3)),
        (asked(5), "3-9", Window(2, 3)),
        (asked(5, 2), "0-3", Window(2, 2)),
        (asked(None, 4), "2-", Window(None, 4)),
        (asked(0), "9-1", Window(0)),
        (asked(), "rows=0-4", Window()),
        (asked(), "0-4,6-7", Window()),
        (asked(), f"0-{'9' * 9000}", Window(10**18 + 1)),
    ],
)
def test_a_window(query: Query, header: str | None, expected: Window):
    assert window_of("GET", header, query) == expected
    assert window_of("POST", header, query) == query.windows.get((), Window())


@pytest.mark.parametrize(
    ("query", "header", "details"),
    [
        (asked(), "4-3", "The lower boundary must be lower than or equal to the upper boundary in the Range header."),
        (asked(3), "5-9", "Limit should be greater than or equal to zero."),
    ],
)  # fmt: skip
def test_a_range_without_rows_is_refused(query: Query, header: str, details: str):
    with pytest.raises(RestError) as refused:
        window_of("GET", header, query)
    error = refused.value
    assert (error.status, error.code, error.details) == (416, "PGRST103", details)


def test_put_has_no_limit():
    assert window_of("PUT", None, asked()) == Window()
    with pytest.raises(RestError) as refused:
        window_of("PUT", None, asked(1))
    assert (refused.value.status, refused.value.code) == (400, "PGRST114")
