"""A gateway with everything that the example app uses, and visitors in a real Chromium."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium
from tests.conftest import Edge
from tests.functions._platform.example.visitors import Visitor


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """bcrypt's least work factor: what a test hashes is guarded by nothing but the test."""
    monkeypatch.setattr("functions._platform.auth.passwords.COST", 4)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, edge: Edge) -> Iterator[Callable[..., Visitor]]:
    """Open the page in a context of its own (another person); keyword arguments are the context's options.

    Fails at the end for whatever a page has reported: scripts' errors, a violated Content-Security-Policy.
    """
    visitors: list[Visitor] = []

    def open_page(**options: object) -> Visitor:
        visitors.append(Visitor(browser.new_context(**options), edge))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        visitor.leave()
