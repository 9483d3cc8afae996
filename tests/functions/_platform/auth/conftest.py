"""Gateways that serve /auth/v1 on the test's own database."""

from collections.abc import Callable

import pytest

from tests.conftest import Edge
from tests.functions._platform.auth.help import AuthClient, StartAuth


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """bcrypt's least work factor: what a test hashes is guarded by nothing but the test."""
    monkeypatch.setattr("functions._platform.auth.passwords.COST", 4)


@pytest.fixture
def start_auth(start_edge: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch) -> StartAuth:
    """A gateway whose worker is idle; keyword arguments override the local stack's settings."""
    monkeypatch.setattr("functions.process_jobs.worker.Worker._claim_loop", _never)
    return lambda **overrides: AuthClient(start_edge(**overrides))


async def _never(self: object) -> None:
    return None


@pytest.fixture
def auth(start_auth: StartAuth) -> AuthClient:
    """As on the local stack: addresses need no confirmation."""
    return start_auth()


@pytest.fixture
def confirming(start_auth: StartAuth) -> AuthClient:
    """As in production: a mail has to be answered."""
    return start_auth(ENABLE_EMAIL_AUTOCONFIRM="false")
