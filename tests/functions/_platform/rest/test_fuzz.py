"""Fuzzing over HTTP: no request is answered with a 5xx, and every error is JSON with code and message."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functions._platform.rest import queries
from tests.functions._platform.rest.conftest import Rest

pytestmark = pytest.mark.slow


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    asked=queries.REQUESTS,
    prefer=queries.PREFERENCES,
    accept=queries.ACCEPTED,
    content_type=queries.CONTENT_TYPES,
    body=queries.BODIES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=50),
)
def test_no_request_is_an_error_of_the_server(
    rest: Rest,
    asked: queries.Asked,
    prefer: str,
    accept: str,
    content_type: str,
    body: bytes,
):
    options: dict[str, Any] = {}
    if asked.method in {"POST", "PUT", "PATCH"}:
        options = {"body": body, "content_type": content_type}
    answer = rest(
        asked.method, f"{asked.path}?{asked.query}", prefer=prefer, accept=accept, **options
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and asked.method != "HEAD":
        assert {"code", "message"} <= set(answer.json())


@pytest.mark.parametrize(
    "query",
    [
        "select=" + "books(" * 3000,
        "select=" + "x:books!author_id(" * 40 + ")" * 40,
        "or=" + "(and" * 3000 + "(id.eq.1" + ")" * 3001,
        "select=data" + "->a" * 3000,
        "id=in.(" + "1," * 20000 + "1)",
        "title=like(any).{" + "a," * 5000 + "a}",
        "limit=" + "9" * 5000,
        "offset=9223372036854775807",
        "offset=1&limit=9223372036854775807",
        "select=data->" + "9" * 400,
        "title=match." + "(a*)*" * 200,
        "title=eq.%00",
        "title=eq.%ed%a0%80",
        "%ed%a0%80=eq.1",
        "select=" + ",".join(f"a{number}:id" for number in range(2000)),
        "&&&=&=1&a",
    ],
)
def test_extremes(rest: Rest, query: str):
    answer = rest.get(f"/books?{query}")
    assert answer.status_code < 500, answer.text[:500]


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"data":' + "[" * 5000 + "]" * 5000 + "}",
        '{"copies": 1' + "0" * 5000 + "}",
        '{"title": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"title": "\x00"}',
        '{"title": "a\\u0000b"}',
        '[' + '{"title": "x"},' * 20_000 + '{"title": "x"}]',
        b"\xff\xfe",
        b'{"title": "\xed\xa0\x80"}',
    ],
)  # fmt: skip
def test_extreme_bodies(rest: Rest, body: str | bytes):
    for path in ("/books", "/books?columns=title,copies,data", "/rpc/keys"):
        for prefer in ("", "missing=default"):
            content_type = "application/json"
            answer = rest("POST", path, body, content_type=content_type, prefer=prefer)
            assert answer.status_code < 500, (path, answer.text[:500])
