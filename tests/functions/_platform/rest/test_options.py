"""OPTIONS: preflights and Allow, also where CORS_ORIGINS lists pages."""

import pytest

from tests.functions._platform.rest.conftest import Rest

PAGE = "https://app.example.com"
EXPOSED = (
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding,"
    " Range-Unit"
)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", "OPTIONS,GET,HEAD"),
        ("/books", "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("/counters", "OPTIONS,GET,HEAD,POST,PATCH,DELETE"),
        ("/rpc/add?a=1", "OPTIONS,GET,HEAD,POST"),
        ("/rpc/forget", "OPTIONS,POST"),
    ],
)
def test_allow(rest: Rest, path: str, methods: str):
    answer = rest("OPTIONS", path)
    assert (answer.status_code, answer.headers["allow"]) == (200, methods)
    assert answer.headers["content-length"] == "0"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_of_nothing(rest: Rest):
    assert rest("OPTIONS", "/bookz").status_code == 404
    assert rest("TRACE", "/books").json()["code"] == "PGRST117"


def ask(rest: Rest, origin: str):
    return rest(
        "OPTIONS",
        "/books",
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers="apikey,x-a",
    )


def test_preflights(rest: Rest):
    answer = ask(rest, PAGE)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"].startswith("Authorization, apikey, x-a")
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-max-age"] == "86400"
    assert "allow" not in answer.headers


def test_a_page_may_read_what_postgrest_exposes(rest: Rest):
    for path in ("/books", "/bookz"):
        answer = rest.get(path, origin=PAGE)
        assert answer.headers["access-control-expose-headers"] == EXPOSED
        assert answer.headers["access-control-allow-origin"] == "*"


def test_listed_pages_alone(rest_with):
    rest = rest_with(CORS_ORIGINS=PAGE)
    for answer in (ask(rest, PAGE), rest.get("/books", origin=PAGE)):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
    for answer in (ask(rest, "https://evil.example"), rest("OPTIONS", "/books", origin="null")):
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
