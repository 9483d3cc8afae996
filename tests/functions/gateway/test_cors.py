"""CORS_ORIGINS: any page without credentials, or the listed ones with credentials, on every kind of response."""

from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions._local.defaults import local_environment
from functions._shared.settings import Settings, SettingsError
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge
from tests.help import BODY

APP, OTHER, EVIL = "https://app.example.com", "http://localhost:3000", "https://evil.example"
LISTED = f"{APP}/, {OTHER}"


@pytest.fixture
def project() -> Iterator[str]:
    """An upstream that sets CORS headers itself."""

    async def tell(request: Request) -> Response:
        said = {
            "access-control-allow-origin": "*",
            "access-control-expose-headers": "content-range",
        }
        return JSONResponse(
            [], headers={**said, "vary": "Accept-Encoding", "content-range": "0-0/1"}
        )

    app = Starlette(routes=[Route("/{path:path}", tell, methods=["GET", "POST"])])
    with bound("127.0.0.1", free_port(), "project") as listener, serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def ask(edge: Edge, method: str, path: str, origin: str | None, **options) -> httpx.Response:
    headers = {"Origin": origin} if origin else {}
    headers |= {"apikey": edge.anon_key, **options.pop("headers", {})}
    return httpx.request(method, f"{edge.url}{path}", headers=headers, **options)


def answers(edge: Edge, origin: str | None) -> Iterator[httpx.Response]:
    """A response of each kind: success, error, preflight, bug, event stream, upstream."""
    start = "/functions/v1/start-generation"
    good = ask(edge, "POST", start, origin, json=BODY)
    yield good
    yield ask(edge, "POST", start, origin, json={})
    yield ask(edge, "POST", start, origin, headers={"apikey": "sb_secret_wrong"})
    yield ask(edge, "POST", "/functions/v1/unknown", origin)
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,x-a",
    }
    yield ask(edge, "OPTIONS", start, origin, headers=asked)
    yield ask(edge, "POST", start, origin, content=b"x" * 2_000_000)
    yield ask(edge, "GET", "/health", origin)
    events = f"{start}/{good.json()['generation_id']}/events"
    headers = {"apikey": edge.anon_key, **({"Origin": origin} if origin else {})}
    with httpx.stream("GET", f"{edge.url}{events}", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield stream
    yield ask(edge, "GET", "/rest/v1/rows", origin)


def told(answer: httpx.Response) -> tuple[list[str], list[str]]:
    names = ("access-control-allow-origin", "access-control-allow-credentials")
    return tuple(answer.headers.get_list(name) for name in names)  # type: ignore[return-value]


def test_a_listed_page_may_call_with_credentials(start_edge, project):
    edge = start_edge(CORS_ORIGINS=LISTED, SUPABASE_UPSTREAM_URL=project)
    for origin in (APP, OTHER):
        for answer in answers(edge, origin):
            assert told(answer) == ([origin], ["true"]), answer.request.url
            assert "Origin" in answer.headers.get_list("vary", split_commas=True)


def test_other_pages_and_no_page_are_told_nothing(start_edge, project):
    edge = start_edge(CORS_ORIGINS=LISTED, SUPABASE_UPSTREAM_URL=project)
    for origin in (EVIL, "null", f"{APP}.evil.example", None):
        for answer in answers(edge, origin):
            assert told(answer) == ([], []), answer.request.url
            assert "Origin" in answer.headers.get_list("vary", split_commas=True), "for caches"


def test_by_default_it_is_any_page_without_credentials(start_edge, project):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project)
    for origin in (APP, EVIL, None):
        for answer in answers(edge, origin):
            assert told(answer) == (["*"], []), answer.request.url
            assert "Origin" not in answer.headers.get_list("vary", split_commas=True)


def test_with_credentials_readable_headers_are_named(start_edge, project):
    """With credentials ``*`` is no wildcard but a header's name."""
    edge = start_edge(CORS_ORIGINS=LISTED, SUPABASE_UPSTREAM_URL=project)
    answer = ask(edge, "POST", "/functions/v1/start-generation", APP, json=BODY)
    exposed = answer.headers.get_list("access-control-expose-headers", split_commas=True)
    assert {"sb-request-id", "content-type", "content-range"} <= set(exposed)
    assert "*" not in exposed
    answer = ask(edge, "GET", "/rest/v1/rows", APP)
    assert answer.headers.get_list("access-control-expose-headers") == ["content-range"]
    assert answer.headers.get_list("vary") == ["Accept-Encoding", "Origin"]


@pytest.mark.parametrize(
    "value",
    ["app.example.com", "https://app.example.com/path", "null", "* https://app.example.com", "https://*.example.com", "https://a@b.example"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_start(value):
    with pytest.raises(SettingsError, match="CORS_ORIGINS must be"):
        Settings.from_env(local_environment({"CORS_ORIGINS": value}))


def test_origins_are_kept_as_browsers_say_them():
    values = {
        "CORS_ORIGINS": "HTTPS://App.Example.com:443/\nhttp://a.example:80 http://a.example:81"
    }
    origins = Settings.from_env(local_environment(values)).cors_origins
    assert origins == {"https://app.example.com", "http://a.example", "http://a.example:81"}
