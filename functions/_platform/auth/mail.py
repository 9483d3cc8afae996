"""The interface between the core (sign-up, PUT /user) and the flows that send mail."""

from typing import Protocol

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from starlette.requests import Request

from functions._platform.auth.delivery.message import Outbox
from functions._platform.auth.pkce import Challenge
from functions._platform.auth.users import User


class Mails(Protocol):
    """Mails with one-time tokens. ``request`` has ``redirect_to``."""

    async def send_confirmation(
        self, request: Request, outbox: Outbox, user: User, challenge: Challenge | None
    ) -> User:
        """Store a confirmation token for an unconfirmed user, and mail it to ``user.email`` after the answer.

        Returns the user with its new ``confirmation_sent_at``. Raises AuthError over_email_send_rate_limit.
        """
        ...

    async def send_email_change(
        self, request: Request, user: User, address: str, challenge: Challenge | None
    ) -> User:
        """Begin the change of ``user.email`` to ``address``, which is valid, in lower case, and nobody else's.

        Returns the user with its new ``email_change``. Raises AuthError over_email_send_rate_limit.
        """
        ...

    async def check_nonce(
        self, connection: AsyncConnection[DictRow], user: User, nonce: str
    ) -> None:
        """Use up the nonce that GET /reauthenticate has mailed. Raises AuthError reauthentication_not_valid."""
        ...


class NoMails:
    """Placeholder until the flows are there."""

    async def send_confirmation(
        self, request: Request, outbox: Outbox, user: User, challenge: Challenge | None
    ) -> User:
        raise NotImplementedError

    async def send_email_change(
        self, request: Request, user: User, address: str, challenge: Challenge | None
    ) -> User:
        raise NotImplementedError

    async def check_nonce(
        self, connection: AsyncConnection[DictRow], user: User, nonce: str
    ) -> None:
        raise NotImplementedError
