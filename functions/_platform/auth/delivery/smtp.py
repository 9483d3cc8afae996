"""Delivery over SMTP: connected before the answer, delivered within bounds, now or after the answer."""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from typing import Any

import aiosmtplib

from functions._platform.auth.delivery.message import Mail, MailError
from functions._shared.mail_settings import MailSettings

CONNECT_S = 10.0
DELIVER_S = 30.0
MAX_CONNECTIONS = 8
"""To the mail server: most of them limit a client's connections, and refuse the ones above."""
IMPLICIT_TLS = 465

log = logging.getLogger(__name__)


def compose(mail: Mail, sender: Address) -> EmailMessage:
    """``mail`` as plain text with an HTML alternative.

    Header injection: EmailMessage refuses a line break in a header, and Address one that is not a single address.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(addr_spec=mail.to)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice comes back
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


class SmtpOutbox:
    """See ``Outbox``."""

    def __init__(self, client: aiosmtplib.SMTP, sender: Address) -> None:
        self._client = client
        self._sender = sender
        self._waiting: list[Mail] = []

    async def deliver(self, mail: Mail) -> None:
        try:
            async with asyncio.timeout(DELIVER_S):
                await self._client.send_message(compose(mail, self._sender))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailError(_described(error)) from None

    def deliver_later(self, mail: Mail) -> None:
        self._waiting.append(mail)

    async def finish(self) -> None:
        """Deliver what waits, then QUIT. A failure is logged without the address."""
        try:
            for mail in self._waiting:
                await self.deliver(mail)
        except MailError as error:
            log.error("mail not delivered: %s", error)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.quit()
        except (aiosmtplib.SMTPException, OSError):  # TimeoutError is an OSError
            self._client.close()


class SmtpMailer:
    """See ``Mailer``. ``close`` waits for what is being delivered."""

    def __init__(self, settings: MailSettings) -> None:
        assert settings.smtp_host
        assert settings.smtp_admin_email
        self._host, self._port = settings.smtp_host, settings.smtp_port
        self._user, self._password = settings.smtp_user, settings.smtp_pass
        self._sender = Address(settings.smtp_sender_name or "", addr_spec=settings.smtp_admin_email)
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._finishing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SmtpOutbox]:
        outbox = SmtpOutbox(await self._connected(), self._sender)
        try:
            yield outbox
        finally:
            self._in_background(outbox.finish())

    async def close(self) -> None:
        if self._finishing:
            await asyncio.wait(self._finishing, timeout=CONNECT_S)

    async def _connected(self) -> aiosmtplib.SMTP:
        """A connection, encrypted and authenticated as configured. Raises MailError."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._free.acquire()
                try:
                    return await self._opened()
                except BaseException:
                    self._free.release()
                    raise
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            log.error("no connection to the mail server: %s", _described(error))
            raise MailError(_described(error)) from None

    async def _opened(self) -> aiosmtplib.SMTP:
        # STARTTLS stripping: a man in the middle removes the offer, and would read the password in plain text.
        needs_tls = self._user is not None and not _is_this_machine(self._host)
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._port == IMPLICIT_TLS,
            start_tls=False if self._port == IMPLICIT_TLS else (True if needs_tls else None),
            username=self._user,
            password=self._password.get_secret_value() if self._password else None,
            # For EHLO; by default a blocking DNS look-up (getfqdn) on the event loop.
            local_hostname=self._sender.domain,
            timeout=CONNECT_S,
        )
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return client

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        self._free.release()


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _described(error: Exception) -> str:
    """The class, and SMTP's code: the server's text may repeat the recipient's address."""
    refused = error.recipients[0] if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else error
    code = getattr(refused, "code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
