"""axe-core finds nothing serious in any state of the page, in light and dark, at desktop and phone width."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._platform.example.visitors import DESKTOP, PHONE, Visitor, half_drawn, shown

pytestmark = IN_CHROMIUM


def check(visitor: Visitor, state: str) -> None:
    """Keep a screenshot; no violation of axe's impacts serious and critical, nor a page wider than its window."""
    width = visitor.page.viewport_size["width"]  # type: ignore[index]
    dark = visitor.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    visitor.look(f"{state}-{width}-{'dark' if dark else 'light'}")
    found = Axe().run(visitor.page).response["violations"]
    told = [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
    assert told == [], state
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_state(visit, sandbox, slow, viewport, scheme):
    # Without motion: a colour in mid-animation is no colour of the page.
    visitor: Visitor = visit(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    visitor.refusals = True
    check(visitor, "signed-out")
    visitor.enter("Sign in", "wrong horse")
    expect(visitor.page.locator("#welcome .trouble")).to_have_text("Invalid login credentials")
    check(visitor, "wrong-password")
    visitor.sign_up()
    expect(visitor.page.get_by_role("heading", name="Nothing on the wall yet")).to_be_visible()
    check(visitor, "empty")
    running = visitor.draw("tea fields in the rain")
    half_drawn(running, sandbox)
    check(visitor, "running")
    slow()
    shown(running)
    failed = visitor.draw("a storm [fault:flagged]")
    expect(failed).to_have_attribute("data-state", "failed")
    shown(visitor.draw("a lighthouse at dawn, watercolour"))
    visitor.draw("x" * 10_001)
    expect(visitor.trouble()).to_contain_text("at most 10000 characters")
    check(visitor, "gallery")
    visitor.page.get_by_role("button", name="Delete: tea fields").focus()
    check(visitor, "focus")
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    check(visitor, "dialog")


def test_nothing_moves_for_those_who_asked_for_that(visit, slow):
    visitor: Visitor = visit(viewport=DESKTOP, reduced_motion="reduce").sign_up()
    expect(visitor.draw("a slow river").locator(".stage")).to_have_text("Starting …")
    assert visitor.page.evaluate("document.getAnimations().length") == 0
    slow()


def test_what_happens_is_read_out_without_being_looked_at(visit):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    page = visitor.page
    for selector in ("#news", "#connection"):
        assert page.locator(selector).get_attribute("role") == "status"
    for selector in ("#welcome .trouble", "#composer .trouble"):
        assert page.locator(selector).get_attribute("role") == "alert"
