"""Accept and Content-Type: which media type is meant, in which order, and how it is written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions._platform.rest import media_types as types
from functions._platform.rest.media_types import MediaType, accepted, decode

PLAN_TEXT = MediaType("application/vnd.pgrst.plan+text", plan_for=types.JSON)


@pytest.mark.parametrize(
    ("text", "expected", "content_type"),
    [
        ("application/json", types.JSON, "application/json; charset=utf-8"),
        ("Application/JSON; charset=utf-8", types.JSON, "application/json; charset=utf-8"),
        ("text/csv", types.CSV, "text/csv; charset=utf-8"),
        ("application/octet-stream", types.BINARY, "application/octet-stream"),
        ("application/geo+json", types.GEO_JSON, "application/geo+json; charset=utf-8"),
        ("application/vnd.pgrst.object+json", types.OBJECT,
         "application/vnd.pgrst.object+json; charset=utf-8"),
        ("application/vnd.PGRST.object", types.OBJECT,
         "application/vnd.pgrst.object+json; charset=utf-8"),
        ("application/vnd.pgrst.object+json;nulls=stripped", types.OBJECT_STRIPPED,
         "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8"),
        ("application/vnd.pgrst.array+json ; nulls=stripped", types.ARRAY_STRIPPED,
         "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8"),
        ("application/vnd.pgrst.array+json", types.JSON, "application/json; charset=utf-8"),
        ("application/vnd.pgrst.plan", PLAN_TEXT,
         'application/vnd.pgrst.plan+text; for="application/json"; charset=utf-8'),
        ('application/vnd.pgrst.plan+json; for="text/csv"; options=buffers|analyze|none',
         MediaType("application/vnd.pgrst.plan+json", False, types.CSV, ("analyze", "buffers")),
         'application/vnd.pgrst.plan+json; for="text/csv"; options=analyze|buffers; charset=utf-8'),
        ("image/png", MediaType("image/png"), "image/png"),
        ("text/html;level=1", MediaType("text/html;level=1"), "text/html;level=1"),
        ("application/vnd.pgrst.new", MediaType("application/vnd.pgrst.new"),
         "application/vnd.pgrst.new"),
        ("*/*", types.ANY, "*/*; charset=utf-8"),
        ("nothing", MediaType("nothing"), "nothing"),
        ("", MediaType(""), ""),
    ],
)  # fmt: skip
def test_a_media_type(text: str, expected: MediaType, content_type: str):
    assert decode(text) == expected
    assert expected.content_type == content_type


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ["*/*"]),
        ("text/csv", ["text/csv"]),
        ("text/csv;q=0.5, application/json", ["application/json", "text/csv"]),
        ("*/*, text/csv", ["text/csv", "*/*"]),
        ("text/csv, text/plain", ["text/csv", "text/plain"]),
        ("text/html,image/png;q=0.9,*/*;q=0.8", ["text/html", "image/png", "*/*"]),
        ("text/csv; q=0.01, */*; q=0.02", ["*/*", "text/csv"]),
        ("text/csv;q=high, text/plain;q=0.9", ["text/csv", "text/plain"]),
    ],
)
def test_the_order_of_an_accept_header(header: str | None, expected: list[str]):
    assert [one.mime for one in accepted(header)] == expected


def test_a_plan_of_a_plan_is_none():
    planned = decode('application/vnd.pgrst.plan; for="application/vnd.pgrst.plan"').plan_for
    assert planned == MediaType("application/vnd.pgrst.plan")


@given(st.text())
def test_any_header_is_read(header: str):
    assert all(one.content_type is not None for one in accepted(header))
    decode(header)
