"""A gateway with operators' keys, a queue in every state, and operators in a real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium
from tests.conftest import Database, Edge
from tests.functions._operate.operators import ADA, BOB, KEYS, Operator

SEED = (Path(__file__).parent / "seed.sql").read_text("utf-8")


@pytest.fixture
def operate(start_edge: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch) -> Edge:
    """A gateway whose worker claims nothing, with two operators: ADA may write, BOB may read."""
    monkeypatch.setattr("functions.process_jobs.worker.Worker._claim_loop", _never)
    return start_edge(OPERATOR_KEYS=KEYS)


async def _never(self: object) -> None:
    return None


@pytest.fixture
def seeded(operate: Edge, db: Database) -> Edge:
    """Jobs, generations, predictions and history in every state, with hostile texts among them."""
    db.execute("select set_config('test.origin', %s, false)", [operate.url])
    db.execute(SEED.encode())
    return operate


@contextmanager
def _signed_in(edge: Edge, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=edge.url, timeout=30) as client:
        answer = client.post("/operate/sign-in", data={"key": key})
        assert answer.status_code == 303, answer.text
        yield client


@pytest.fixture
def ada(operate: Edge) -> Iterator[httpx.Client]:
    with _signed_in(operate, ADA) as client:
        yield client


@pytest.fixture
def bob(operate: Edge) -> Iterator[httpx.Client]:
    with _signed_in(operate, BOB) as client:
        yield client


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def operator(browser: Browser, operate: Edge) -> Iterator[Callable[..., Operator]]:
    """Sign in, in a context of its own; keyword arguments are the context's options.

    Fails at the end for whatever a page has reported: scripts' errors, a violated Content-Security-Policy.
    """
    operators: list[Operator] = []

    def open_page(key: str = ADA, **options: object) -> Operator:
        operators.append(Operator(browser.new_context(**options), operate, key))
        return operators[-1]

    yield open_page
    for one in operators:
        one.leave()
