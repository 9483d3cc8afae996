"""An SMTP server for the test, and gateways that mail by it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from scripts.postgres import free_port
from tests.functions._platform.auth.delivery.smtp_server import ADMIN, Server
from tests.functions._platform.auth.help import AuthClient


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def listen(server: Server) -> Iterator[Callable[..., int]]:
    """Start the server; the port. Keyword arguments are aiosmtpd's."""
    with ExitStack() as stack:

        def started(**options: Any) -> int:
            controller = Controller(server, hostname="127.0.0.1", port=free_port(), **options)
            controller.start()
            stack.callback(controller.stop)
            return int(controller.port)

        yield started


@pytest.fixture
def start_mailing(start_auth, listen) -> Callable[..., AuthClient]:
    """A gateway that confirms addresses by mails over SMTP."""
    port = listen()

    def start(**overrides: str) -> AuthClient:
        return start_auth(
            **{
                "ENABLE_EMAIL_AUTOCONFIRM": "false",
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(port),
                "SMTP_ADMIN_EMAIL": ADMIN,
                "SMTP_SENDER_NAME": "Bilder & Ähnliches",
                **overrides,
            }
        )

    return start
