"""The real supabase-js in a real Chromium, in a page of another origin: CORS, preflights, websockets, sessions."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from playwright.sync_api import Error, Page, sync_playwright

from tests.clients.node import HERE, NEWEST, VERSIONS, needs_node
from tests.conftest import Edge

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    needs_node,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]
PASSWORD = "correct horse battery"
REFUSED = "Failed to load resource: the server responded with a status of "
"""What Chromium's console says of a response of 400 and above, which the page has been given."""


def new_address() -> str:
    return f"u{uuid4().hex}@example.test"


class Pages(SimpleHTTPRequestHandler):
    """The app's page, and the packages' builds for browsers."""

    def translate_path(self, path: str) -> str:
        name = path.partition("?")[0].rpartition("/")[2] or "index.html"
        return str(self.server.files.get(name, HERE / "page" / name))  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def origin(version: str) -> Iterator[str]:
    """A server of its own for the page, on another port than the gateway's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.files = {  # type: ignore[attr-defined]
            "supabase.js": HERE / "node_modules" / version / "dist/umd/supabase.js",
            "tus.js": HERE / "node_modules/tus-js-client/dist/tus.js",
        }
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def browsing(url: str) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what its console says meanwhile."""
    said: list[str] = []
    # Chromium's sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            page = browser.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(url)
            yield page, said
        finally:
            browser.close()


def opened(edge: Edge, origin: str) -> str:
    return f"{origin}/?{urlencode({'url': edge.url, 'key': edge.anon_key})}"


def call(page: Page, function: str, *arguments: str) -> Any:
    return page.evaluate(f"(given) => {function}(...given)", [*arguments])


def refusals_in(said: list[str]) -> list[int]:
    """The statuses that the console complains of; anything else that it says fails the test."""
    shown = [text for text in said if "Multiple GoTrueClient instances" not in text]
    assert all(text.startswith(REFUSED) for text in shown), shown
    return [int(text.removeprefix(REFUSED)[:3]) for text in shown]


def uploads(page: Page) -> None:
    """Plain, transformed and resumable, whose headers a page may send and read by CORS alone."""
    assert call(page, "uploadSource") == {
        "again": "The resource already exists",
        "fetched": [200, "image/png", True],
        "part": [206, "bytes 0-7/N", 8],
        "shown": [[64, 64, False], [64, 64, True], [16, 16, True]],
        "downloaded": True,
        "thumbnail": "image/png",
        "info": {"a": "1"},
    }
    assert call(page, "uploadLarge") == {
        "offsets": [6 * 1024 * 1024, "all"],
        "equal": True,
        "tus": ["1.0.0", "creation,creation-with-upload,expiration,termination", "52428800"],
    }
    assert call(page, "refusals") == [
        ["FunctionsHttpError", 400, "INVALID_REQUEST", True],
        ["FunctionsHttpError", 401, "UNAUTHORIZED_INVALID_JWT_FORMAT", True],
        ["FunctionsHttpError", 404, "NOT_FOUND", True],
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_app_of_another_origin(edge: Edge, origin: str):
    address = new_address()
    with browsing(opened(edge, origin)) as (page, said):
        assert call(page, "signUp", address, PASSWORD) == [address, "bearer"]
        uploads(page)
        steps = ["queued", "processing", "downloading", "completed"]
        assert call(page, "makePicture") == [steps, steps]
        assert call(page, "gallery") == {
            "count": 1,
            "row": ["completed", 1],
            "picture": True,
            "thumbnail": [64, 64, True],
            "missing": "PGRST116",
        }
        page.reload()
        assert call(page, "refresh") == [True, True]
        assert call(page, "remove") == {"removed": 2, "deleted": "deleted", "left": 0}
        assert call(page, "signOut") == [None, None]
    assert refusals_in(said) == [400, 400, 401, 404, 406]


@pytest.mark.parametrize("version", [NEWEST])
def test_an_origin_of_the_list(start_edge, origin: str):
    edge = start_edge(CORS_ORIGINS=f"https://other.example,{origin}")
    with browsing(opened(edge, origin)) as (page, said):
        call(page, "signUp", new_address(), PASSWORD)
        uploads(page)
    assert refusals_in(said) == [400, 400, 401, 404]


@pytest.mark.parametrize("version", [NEWEST])
def test_an_origin_that_is_not_in_the_list(start_edge, origin: str):
    edge = start_edge(CORS_ORIGINS="https://other.example")
    with (
        browsing(opened(edge, origin)) as (page, said),
        pytest.raises(Error, match="Failed to fetch"),
    ):
        call(page, "signUp", new_address(), PASSWORD)
    assert "blocked by CORS policy" in said[0]
