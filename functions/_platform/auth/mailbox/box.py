"""The mailbox: a bounded ring of mails in this process's memory, which is a mailer as well."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from functions._platform.auth.delivery.message import Mail

MAX_MAILS = 200


@dataclass(frozen=True)
class Received:
    mail: Mail
    id: str = field(default_factory=lambda: str(uuid4()))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Mailbox:
    """Both ``Mailer`` and ``Outbox``. ``announce`` is called with one line for each mail, and its link or code."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._mails: OrderedDict[str, Received] = OrderedDict()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Mailbox"]:
        yield self

    async def deliver(self, mail: Mail) -> None:
        self.deliver_later(mail)

    def deliver_later(self, mail: Mail) -> None:
        received = Received(mail)
        self._mails[received.id] = received
        while len(self._mails) > MAX_MAILS:
            self._mails.popitem(last=False)
        self._announce(f"mail to {mail.to}: {mail.subject}: {mail.link or mail.code}")

    def newest_first(self, to: str | None = None) -> list[Received]:
        """All mails, or those to one address."""
        return [one for one in reversed(self._mails.values()) if to in (None, one.mail.to)]

    def find(self, id: str) -> Received | None:
        return self._mails.get(id)

    def remove(self, id: str) -> bool:
        """Whether there was such a mail."""
        return self._mails.pop(id, None) is not None

    def clear(self) -> None:
        self._mails.clear()
