"""The mailbox's page in a real Chromium: mails appear, are read, followed, copied and deleted."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from scripts.postgres import free_port
from tests.functions._platform.auth.help import AuthClient, new_address
from tests.functions._platform.auth.mails import newest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]


@contextmanager
def browsing(auth: AuthClient, **options: Any) -> Iterator[Page]:
    """The mailbox in a browser of its own. Fails for whatever the page reports: scripts' errors, a broken policy."""
    complaints: list[str] = []
    # Chromium's sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            context = browser.new_context(**options)
            page = context.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(f"{auth.edge.url}/mailbox")
            yield page
        finally:
            browser.close()
    assert complaints == []


def mail_to(auth: AuthClient, address: str) -> dict[str, Any]:
    assert auth.post("/otp", {"email": address}).status_code == 200
    return newest(auth, address)


def entry(page: Page, address: str) -> Any:
    return page.get_by_role("navigation").get_by_role("button", name=address)


def test_a_mail_appears_by_itself_and_is_read(auth):
    address = new_address()
    with browsing(auth) as page:
        expect(page.get_by_role("status")).to_contain_text("No mails yet")
        mail = mail_to(auth, address)
        entry(page, address).click()
        expect(page.get_by_role("heading", level=2)).to_have_text(mail["subject"])
        expect(page.locator("#code")).to_have_text(mail["code"])
        expect(page.get_by_role("link", name="Open the link")).to_have_attribute(
            "href", mail["link"]
        )
        shown = page.frame_locator("iframe")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Sign in")
        expect(shown.locator(".code")).to_have_text(mail["code"])
        page.get_by_role("tab", name="Plain text").click()
        expect(page.locator("#text")).to_contain_text(mail["link"])
        expect(page.locator("iframe")).to_be_hidden()


def test_the_link_in_the_mail_opens_beside_the_mailbox_and_signs_in(start_auth):
    port = str(free_port())
    auth = start_auth(EDGE_PORT=port, SITE_URL=f"http://127.0.0.1:{port}/health")
    mail = mail_to(auth, new_address())
    with browsing(auth) as page:
        entry(page, mail["to"]).click()
        with page.expect_popup() as opened:
            page.frame_locator("iframe").get_by_role("link").click()
        opened.value.wait_for_url("**/health*")
        assert "access_token=" in opened.value.url
        assert page.url.startswith(f"{auth.edge.url}/mailbox")


def test_finding_and_deleting(auth):
    one, other = (mail_to(auth, new_address())["to"] for _ in range(2))
    with browsing(auth) as page:
        page.get_by_label("Find an address").fill(one.upper())
        expect(entry(page, other)).to_have_count(0)
        entry(page, one).click()
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(entry(page, one)).to_have_count(0)
        page.get_by_label("Find an address").fill("")
        expect(entry(page, other)).to_be_visible()
        page.get_by_role("button", name="Delete all").click()
        expect(page.get_by_role("status")).to_contain_text("No mails yet")
        expect(page.get_by_role("button", name="Delete all")).to_be_disabled()


def test_the_code_is_copied(auth):
    mail = mail_to(auth, new_address())
    with browsing(auth, permissions=["clipboard-read", "clipboard-write"]) as page:
        entry(page, mail["to"]).click()
        expect(page.locator("#code")).to_have_text(mail["code"])
        page.locator("[data-copy=code]").click()
        expect(page.locator("[data-copy=code]")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == mail["code"]


def test_on_a_phone_a_mail_takes_the_whole_page(auth):
    mail = mail_to(auth, new_address())
    with browsing(auth, viewport={"width": 360, "height": 640}) as page:
        entry(page, mail["to"]).click()
        expect(page.locator("#code")).to_be_visible()
        expect(page.get_by_role("navigation")).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="All mails").click()
        expect(entry(page, mail["to"])).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(auth, scheme):
    """WCAG's contrast of 4.5 for what is read: the list, the labels, the buttons."""
    mail = mail_to(auth, new_address())
    with browsing(auth, color_scheme=scheme) as page:
        entry(page, mail["to"]).click()
        expect(page.locator("#code")).to_have_text(mail["code"])
        for selector in ("h1", "h2", "dt", "dd", "li .subject", "#code", ".action", "#show-text"):
            assert page.evaluate(CONTRAST, selector) >= 4.5, selector


CONTRAST = """(selector) => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number)
      .map((value) => value / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let ground = document.querySelector(selector);
  const ink = light(getComputedStyle(ground).color);
  while (/rgba\\(0, 0, 0, 0\\)/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const paper = light(getComputedStyle(ground).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""
