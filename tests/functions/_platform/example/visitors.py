"""People in front of the example app: a browser context each, what they do, and what their page complains of."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.chromium import PATIENT_MS, SHOTS
from tests.conftest import Edge, Provider
from tests.help import eventually

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PASSWORD = "correct horse"
STATUS = re.compile(r"Failed to load resource: the server responded with a status of \d+")
"""Chromium's own line about every answer of 400 and above: tests of refusals expect them."""


class Visitor:
    """``refusals``: whether answers of 400 and above are expected."""

    def __init__(self, context: BrowserContext, edge: Edge) -> None:
        self.context = context
        self.edge = edge
        self.refusals = False
        self.complaints: list[str] = []
        self.address = f"ada+{uuid4().hex[:8]}@example.com"
        self.page = self.open_tab()

    def open_tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENT_MS)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{self.edge.url}/")
        return page

    def leave(self) -> None:
        self.context.close()
        if self.refusals:
            self.complaints = [one for one in self.complaints if not STATUS.match(one)]
        if self.complaints:
            pytest.fail(f"the page complains: {self.complaints}")

    def sign_up(self) -> "Visitor":
        self.enter("Create account")
        expect(self.prompt).to_be_focused()
        expect(self.page.locator("#connection")).to_have_text("Live")
        return self

    def enter(self, mode: str, password: str = PASSWORD) -> None:
        self.page.get_by_label(mode).check(force=True)
        self.page.get_by_label("E-mail").fill(self.address)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_label("Password").press("Enter")

    @property
    def prompt(self) -> Locator:
        return self.page.get_by_label("Describe a picture")

    def draw(self, prompt: str) -> Locator:
        """Ask for a picture; its card."""
        self.prompt.fill(prompt)
        self.prompt.press("Enter")
        return self.card(prompt)

    def card(self, prompt: str) -> Locator:
        return self.page.locator("#gallery li").filter(
            has=self.page.locator(".prompt").get_by_text(prompt, exact=True)
        )

    def trouble(self) -> Locator:
        return self.page.locator("#composer .trouble")

    def session(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(
            "JSON.parse(localStorage.getItem('picture-edge.session'))"
        )
        return found

    def change_session(self, **members: object) -> None:
        self.page.evaluate(
            """(members) => localStorage.setItem('picture-edge.session', JSON.stringify(
                { ...JSON.parse(localStorage.getItem('picture-edge.session')), ...members }))""",
            members,
        )

    def eventually(self, seen: Callable[[], object]) -> None:
        """Wait for what the page brings about. Playwright serves the page's events within its own calls only."""
        eventually(lambda: self.page.title() and seen())

    def look(self, name: str) -> None:
        """Keep a screenshot as ``name``."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", animations="disabled")


def half_drawn(card: Locator, sandbox: Provider) -> None:
    """Wait until the picture of a slow sandbox (200 s) is known to be drawn to the half."""
    expect(card.locator(".stage")).to_be_visible()
    eventually(lambda: card.page.title() and len(sandbox.state.predictions))
    for prediction in sandbox.state.predictions.values():
        prediction.created -= 120
    expect(card.locator(".stage")).to_contain_text("Drawing ·")


def shown(card: Locator) -> None:
    """Wait until the card has its picture, decoded."""
    expect(card).to_have_attribute("data-state", "completed")
    expect(card.locator("img")).to_have_js_property("complete", True)
    assert card.locator("img").evaluate(
        "(picture) => picture.decode().then(() => picture.naturalWidth)"
    )
