"""Operators in front of their page: keys, forms over HTTP, a browser context and what its page complains of."""

import re

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Error, expect

from tests.chromium import PATIENT_MS, SHOTS
from tests.conftest import Edge
from tests.help import PROJECT

ADA, BOB = "ada-0123456789abcdef", "bob-0123456789abcdef"
KEYS = f"ada={ADA},bob:read={BOB}"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PICTURE = (PROJECT / "functions/_platform/example/page/icon.svg").read_bytes()
"""What Storage would answer for each picture of seed.sql."""
CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


class Operator:
    """A browser context that is signed in at the overview."""

    def __init__(self, context: BrowserContext, edge: Edge, key: str) -> None:
        self.context = context
        self.url = f"{edge.url}/operate"
        self.complaints: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENT_MS)
        self.page.route(
            "**/storage/v1/**",
            lambda route: route.fulfill(body=PICTURE, content_type="image/svg+xml"),
        )
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(self.url)
        self.page.get_by_label("Your key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Overview")).to_be_visible()

    def go(self, path: str) -> "Operator":
        self.page.goto(f"{self.url}{path}")
        return self

    def look(self, name: str) -> None:
        """Keep a screenshot of the whole page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"operate-{name}.png"
        try:
            self.page.screenshot(path=path, full_page=True, animations="disabled")
        except Error:  # "Unable to capture screenshot": Chromium's compositor on a busy machine
            self.page.screenshot(path=path, full_page=True, animations="disabled")

    def check(self, name: str) -> None:
        """A screenshot; axe-core finds nothing serious, and the page is no wider than its window."""
        width = self.page.viewport_size["width"]  # type: ignore[index]
        self.look(f"{name}-{width}")
        found = Axe().run(self.page).response["violations"]
        told = [
            f"{one['id']}: {node['html']} {node['failureSummary']}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]
        assert told == [], name
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width, name

    def leave(self) -> None:
        self.context.close()
        if self.complaints:
            pytest.fail(f"the page complains: {self.complaints}")


def csrf_of(client: httpx.Client) -> str:
    found = CSRF.search(client.get("/operate").text)
    assert found
    return found[1]


def post(client: httpx.Client, path: str, **fields: object) -> httpx.Response:
    """Submit a form as its page would; the page that it leads to."""
    return client.post(
        f"/operate{path}", data={"csrf": csrf_of(client), **fields}, follow_redirects=True
    )


def generation_id(number: int) -> str:
    """Of seed.sql: 1 to 6 wait, 7 to 9 run, 10 to 18 have failed, 19 and 20 were cancelled, the others completed."""
    return f"10000000-0000-4000-8000-{number:012d}"


def job_id(number: int) -> str:
    return f"0199a000-0000-7000-8000-{number:012d}"
