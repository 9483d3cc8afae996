"""A mail, and the two interfaces it is sent by: a mailer opens an outbox, an outbox delivers."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal[
    "confirmation", "invite", "recovery", "magic_link", "email_change", "reauthentication"
]
"""GoTrue's names of its templates."""


@dataclass(frozen=True)
class Mail:
    """``link`` None: a code alone (reauthentication)."""

    kind: Kind
    to: str
    subject: str
    text: str
    html: str
    code: str
    link: str | None = None


class MailError(Exception):
    """Not delivered. The text holds neither an address nor a code: it is logged."""


class Outbox(Protocol):
    """One connection to the mail server, for the mails of one request."""

    async def deliver(self, mail: Mail) -> None:
        """Deliver now. Raises MailError."""

    def deliver_later(self, mail: Mail) -> None:
        """Deliver after the request is answered; a failure is logged."""


class Mailer(Protocol):
    """``connect`` raises MailError where no mail can be sent.

    Account enumeration: a request of an unknown caller connects before it looks the address up, and leaves delivery to
    ``deliver_later``. Neither the time nor a mail server that is down then tells whether the address has an account.
    """

    def connect(self) -> AbstractAsyncContextManager[Outbox]: ...
