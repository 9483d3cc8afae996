"""Mails with one-time tokens: the token is stored, then its code and link are mailed."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.requests import Request

from functions._platform.auth.delivery.message import Kind, Mail, Mailer, MailError, Outbox
from functions._platform.auth.delivery.templates import render
from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailed.attempts import Attempts
from functions._platform.auth.mailed.frequency import Asked, MailRequests, too_frequent
from functions._platform.auth.mailed.one_time_tokens import Column, Token, new_token
from functions._platform.auth.mailed.redirects import redirect_of, verify_link
from functions._platform.auth.pkce import Challenge
from functions._platform.auth.store.flow_states import add_flow_state
from functions._platform.auth.store.one_time_tokens import (
    clear_tokens,
    find_by_address,
    seconds_to_wait,
    store_tokens,
    use_up,
)
from functions._platform.auth.store.users import Connection, update_user
from functions._platform.auth.users import User
from functions._shared.database.pool import Pool
from functions._shared.settings import Settings

COLUMNS: Mapping[Kind, Column] = {
    "confirmation": "confirmation_token",
    "invite": "confirmation_token",
    "recovery": "recovery_token",
    "magic_link": "recovery_token",
}
LINK_TYPES: Mapping[Kind, str] = {
    "confirmation": "signup",
    "invite": "invite",
    "recovery": "recovery",
    "magic_link": "magiclink",
    "email_change": "email_change",
}
"""Kind of a mail → ``type`` in its link."""
FLOWS: Mapping[Kind, tuple[str, str]] = {
    "confirmation": ("email", "email/signup"),
    "recovery": ("recovery", "recovery"),
    "magic_link": ("magiclink", "magiclink"),
    "email_change": ("email_change", "email_change"),
}
"""Kind → provider_type and authentication_method of its flow state (PKCE)."""

LOOKUP_S = 0.05
"""Least time of a request that looks an unknown caller's address up: storing a token takes a few milliseconds more than
finding that there is nothing to store (timing attack)."""


@asynccontextmanager
async def connected(mailer: Mailer, what: str, *, least_s: float = 0) -> AsyncIterator[Outbox]:
    """An outbox, before anything is looked up. Raises AuthError 500, in which ``what`` names the mail.

    ``least_s``: the least time that the block takes, also where it raises.
    """
    try:
        async with mailer.connect() as outbox:
            ends_at = time.monotonic() + least_s
            try:
                yield outbox
            finally:
                await asyncio.sleep(ends_at - time.monotonic())
    except MailError:
        raise AuthError(500, "unexpected_failure", f"Error sending {what} email") from None


class TokenMails:
    """Each sending method raises AuthError over_email_send_rate_limit, and needs an address of the user's."""

    def __init__(self, settings: Settings, pool: Pool, mailer: Mailer) -> None:
        self._settings = settings
        self._pool = pool
        self._mailer = mailer
        self.attempts = Attempts()
        self._requests = MailRequests(settings.smtp_max_frequency)

    def check_frequency(self, address: str, *kinds: Asked, behind: tuple[Asked, ...] = ()) -> None:
        """Before a stranger's ``address`` is looked up; ``kinds`` of mails that the request may lead to."""
        self._requests.check(address, *kinds, behind=behind)

    async def send(
        self,
        request: Request,
        outbox: Outbox,
        user: User,
        kind: Kind,
        challenge: Challenge | None,
        **more: object,
    ) -> User:
        """A mail with one token to ``user.email``, delivered after the answer; ``more`` columns of the user."""
        token = new_token(COLUMNS[kind], user.email or "", pkce=challenge is not None)
        stored = await self._store(user, [token], kind, challenge, **more)
        outbox.deliver_later(self._mail(request, kind, token))
        return stored

    async def send_invite(self, request: Request, outbox: Outbox, user: User) -> User:
        """To an unconfirmed user, without a limit of frequency; delivered before the answer. Raises MailError.

        Pre-hijacking: a password that somebody chose at a sign-up with this address ends.
        """
        token = new_token("confirmation_token", user.email or "")
        async with self._pool.connection() as connection, connection.transaction():
            stored = await store_tokens(
                connection,
                user.id,
                [token],
                invited_at=datetime.now(UTC),
                encrypted_password=None,
            )
        await outbox.deliver(self._mail(request, "invite", token))
        return _existing(stored)

    async def send_email_change(
        self, request: Request, user: User, address: str, challenge: Challenge | None
    ) -> User:
        """To the new address, and to the old one where both confirm; delivered before the answer."""
        tokens = self._email_change_tokens(user, address, challenge)
        async with connected(self._mailer, "email change") as outbox:
            stored = await self._store(user, tokens, "email_change", challenge, **_begun(address))
            for token in tokens:
                await outbox.deliver(self._mail(request, "email_change", token, address))
        return stored

    async def send_email_change_again(
        self, request: Request, outbox: Outbox, user: User, challenge: Challenge | None
    ) -> None:
        """The same for an unknown caller: delivered after the answer."""
        address = user.email_change or ""
        tokens = self._email_change_tokens(user, address, challenge)
        await self._store(user, tokens, "email_change", challenge, **_begun(address))
        for token in tokens:
            outbox.deliver_later(self._mail(request, "email_change", token, address))

    async def send_nonce(self, user: User) -> None:
        """The code of GET /reauthenticate, delivered before the answer."""
        token = new_token("reauthentication_token", user.email or "")
        async with connected(self._mailer, "reauthentication") as outbox:
            await self._store(user, [token], "reauthentication", None)
            await outbox.deliver(render("reauthentication", to=token.relates_to, code=token.otp))

    async def check_nonce(self, connection: Connection, user: User, nonce: str) -> None:
        address = user.email or ""
        found = await find_by_address(connection, ["reauthentication_token"], address)
        stored = self.attempts.right_one(found, address, nonce)
        used = await use_up(connection, stored, self._settings.mailer_otp_exp) if stored else None
        if used is None or used.expired:
            raise AuthError(422, "reauthentication_not_valid", "Nonce has expired or is invalid")
        await update_user(connection, user.id, {"reauthentication_token": ""})
        await clear_tokens(connection, user.id)

    def _email_change_tokens(
        self, user: User, address: str, challenge: Challenge | None
    ) -> list[Token]:
        pkce = challenge is not None
        tokens = [new_token("email_change_token_new", address, pkce=pkce)]
        if user.email and self._settings.mailer_secure_email_change_enabled:
            tokens.append(new_token("email_change_token_current", user.email, pkce=pkce))
        return tokens

    async def _store(
        self,
        user: User,
        tokens: Sequence[Token],
        kind: Kind,
        challenge: Challenge | None,
        **more: object,
    ) -> User:
        """In a transaction of its own, committed before anything is mailed: no connection waits for a mail server."""
        async with self._pool.connection() as connection, connection.transaction():
            left_s = await seconds_to_wait(
                connection, user.id, tokens[0].column, self._settings.smtp_max_frequency
            )
            if left_s is not None:
                raise too_frequent(left_s)
            if challenge is not None:
                provider, method = FLOWS[kind]
                await add_flow_state(
                    connection, user.id, challenge, provider=provider, method=method
                )
            stored = await store_tokens(connection, user.id, tokens, **more)
        return _existing(stored)

    def _mail(self, request: Request, kind: Kind, token: Token, new_email: str = "") -> Mail:
        redirect_to = redirect_of(request, self._settings)
        link = verify_link(self._settings, token.link_hash, LINK_TYPES[kind], redirect_to)
        return render(kind, to=token.relates_to, code=token.otp, link=link, new_email=new_email)


def _begun(address: str) -> dict[str, object]:
    """Columns of a change of address of which nothing is confirmed."""
    return {"email_change": address, "email_change_confirm_status": 0}


def _existing(user: User | None) -> User:
    """Raises AuthError for one that was deleted meanwhile."""
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    return user
