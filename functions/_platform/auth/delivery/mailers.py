"""Which mailer a gateway has: SMTP, the local stack's mailbox, or none."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from functions._platform.auth.delivery.message import Mailer, MailError, Outbox
from functions._platform.auth.delivery.smtp import SmtpMailer
from functions._platform.auth.mailbox.box import Mailbox
from functions._shared.settings import Settings

log = logging.getLogger(__name__)


class NoMailer:
    """Neither SMTP nor mailbox: each attempt fails."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Outbox]:
        log.error("a mail cannot be sent: SMTP_HOST is not set")
        raise MailError("SMTP_HOST is not set")
        yield  # a generator function, though it never comes here


@asynccontextmanager
async def open_mailer(settings: Settings) -> AsyncIterator[Mailer]:
    """The mailer while the service is served; at the end, what is being delivered is waited for."""
    if settings.smtp_host:
        smtp = SmtpMailer(settings)
        try:
            yield smtp
        finally:
            await smtp.close()
    elif settings.uses_local_keys:
        yield Mailbox(announce=_print_line)
    else:
        yield NoMailer()


def _print_line(text: str) -> None:
    """Into the output of ``make up``, beside its own lines."""
    print(text, flush=True)
