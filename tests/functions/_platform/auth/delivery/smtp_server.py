"""A real SMTP server (aiosmtpd) that keeps what it accepts, and a mailer that sends to it."""

import email
import threading
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import AuthResult

from functions._platform.auth.delivery.smtp import SmtpMailer
from functions._platform.auth.delivery.templates import render
from functions._shared.mail_settings import MailSettings

ADMIN = "admin@example.test"
LINK = "https://edge.example/auth/v1/verify?token=x&type=signup"


class Server:
    """aiosmtpd in a thread: keeps what it accepts. ``answers`` overrides an answer by command; ``go`` lets DATA end."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}
        self.logins: list[tuple[bytes, bytes, bool]] = []
        self.commands: list[str] = []
        self.go = threading.Event()
        self.go.set()

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ):
        session.host_name = hostname
        self.commands.append("EHLO")
        return responses

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if answer := self.answers.get("RCPT"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.commands.append("DATA")
        await server.loop.run_in_executor(None, self.go.wait, 30)
        parsed = email.message_from_bytes(envelope.content, policy=policy.default)
        parsed["X-Envelope"] = (
            f"{envelope.mail_from} {' '.join(envelope.rcpt_tos)} {bool(session.ssl)}"
        )
        self.mails.append(parsed)
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins.append((data.login, data.password, bool(session.ssl)))
        # handled=False: aiosmtpd answers a failure with 535 itself.
        return AuthResult(success=data.password == b"right", handled=False)


def mailer(port: int, **more: Any) -> SmtpMailer:
    return SmtpMailer(
        MailSettings(smtp_host="127.0.0.1", smtp_port=port, smtp_admin_email=ADMIN, **more)
    )


async def send(by: SmtpMailer) -> None:
    async with by.connect() as outbox:
        await outbox.deliver(render("recovery", to="ann@example.test", code="123456", link=LINK))
    await by.close()
