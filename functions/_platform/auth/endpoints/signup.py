"""POST /signup: with an address and a password, or anonymously."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import Auth, auth_of
from functions._platform.auth.email_users import (
    EMAIL_PROVIDER,
    add_email_user,
    email_claims,
    saving_user,
)
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.mailed.token_mails import connected
from functions._platform.auth.metadata import Metadata
from functions._platform.auth.pkce import Challenge, challenge_of
from functions._platform.auth.sessions import grant_session
from functions._platform.auth.store.users import (
    Connection,
    find_user_by_email,
    insert_user,
    update_user,
)
from functions._platform.auth.users import User, timestamp

LOOKUP_S = 0.05
"""Least time from the look-up of an address on, where it is to be confirmed: an insert takes a few milliseconds more
than finding that there is nothing to insert (timing attack)."""


class SignupParams(Params):
    email: str = ""
    phone: str = ""
    password: str = ""
    data: Metadata = Field(default_factory=dict)
    code_challenge: str = ""
    code_challenge_method: str = ""


async def signup(request: Request) -> Response:
    """A session where addresses need no confirmation and for anonymous users, else the user alone."""
    auth = auth_of(request)
    params = await read_params(request, SignupParams)
    if not params.email and not params.phone:
        return await _anonymous(request, params)
    auth.limits.check(request, "signup")
    _check_open(auth)
    if not params.password:
        raise validation_failed("Signup requires a valid password")
    auth.passwords.check_strength(params.password)
    if params.email and params.phone:
        raise validation_failed(
            "Only an email address or phone number should be provided on signup."
        )
    challenge = challenge_of(params.code_challenge_method, params.code_challenge)
    if params.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone signups are disabled")
    if not auth.settings.enable_email_signup:
        raise AuthError(400, "email_provider_disabled", "Email signups are disabled")
    address = valid_address(params.email)
    # Before the look-up: a known address takes as long as an unknown one.
    hashed = await auth.passwords.hash(params.password)
    if auth.settings.enable_email_autoconfirm:
        return await _confirmed(request, address, hashed, params)
    return await _to_confirm(request, address, hashed, params, challenge)


def _check_open(auth: Auth) -> None:
    if auth.settings.disable_signup:
        raise AuthError(422, "signup_disabled", "Signups not allowed for this instance")


async def _anonymous(request: Request, params: SignupParams) -> Response:
    auth = auth_of(request)
    if not auth.settings.enable_anonymous_users:
        raise AuthError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    auth.limits.check(request, "anonymous")
    _check_open(auth)
    user_id = uuid4()
    async with auth.pool.connection() as connection, connection.transaction():
        with saving_user():
            await insert_user(
                connection,
                user_id=user_id,
                is_anonymous=True,
                app_meta_data={},
                user_meta_data=params.data,
            )
        body = await grant_session(request, connection, user_id, "anonymous")
    return JSONResponse(body)


async def _confirmed(request: Request, address: str, hashed: str, params: SignupParams) -> Response:
    """Autoconfirm: a session at once; 422 for an address that has a user."""
    auth = auth_of(request)
    async with auth.pool.connection() as connection:
        known = await find_user_by_email(connection, address)
    # An unconfirmed user, of the time before autoconfirm: the same sign-up once more, or a stranger's.
    if known and (
        known.is_confirmed
        or not await auth.passwords.matches(params.password, known.encrypted_password)
    ):
        raise _exists()
    async with auth.pool.connection() as connection, connection.transaction():
        user = known or await _add(connection, address, hashed, params)
        if user is None:
            raise _exists()
        changes = {"email_confirmed_at": datetime.now(UTC), "confirmation_token": ""}
        await update_user(connection, user.id, changes, user_data={"email_verified": True})
        body = await grant_session(request, connection, user.id, "password")
    return JSONResponse(body)


def _exists() -> AuthError:
    return AuthError(422, "user_already_exists", "User already registered")


async def _to_confirm(
    request: Request,
    address: str,
    hashed: str,
    params: SignupParams,
    challenge: Challenge | None,
) -> Response:
    """The user alone, and a mail to a new or unconfirmed one.

    Account enumeration: an address that has a user gets the same answer, about a user who does not exist, and no mail.
    """
    auth = auth_of(request)
    async with connected(auth.mailer, "confirmation") as outbox:
        began = time.monotonic()
        auth.mails.check_frequency(address, "confirmation_token")
        async with auth.pool.connection() as connection:
            user = await find_user_by_email(connection, address)
            user = user or await _add(connection, address, hashed, params)
        if user and not user.is_confirmed:
            # Pre-hijacking: a mail confirms the password of its own sign-up, not that of a stranger who came first.
            await auth.mails.send(
                request, outbox, user, "confirmation", challenge, encrypted_password=hashed
            )
        await asyncio.sleep(began + LOOKUP_S - time.monotonic())
    return JSONResponse(_pending(auth, user, address, params.data))


async def _add(
    connection: Connection, address: str, hashed: str, params: SignupParams
) -> User | None:
    """A new, unconfirmed user; None: the address is taken."""
    return await add_email_user(
        connection, address, params.data, encrypted_password=hashed, signs_up=True
    )


def _pending(
    auth: Auth, user: User | None, address: str, data: Mapping[str, Any]
) -> dict[str, Any]:
    """A user that waits for confirmation, as if just signed up; made up, and always the same, for a taken address.

    Nothing in it but ids is of the database: whatever is would differ between the second sign-up of a new address and
    that of a taken one.
    """
    pending = user if user and not user.is_confirmed and user.identities else None
    user_id = pending.id if pending else _made_up(auth, "user", address)
    identity_id = (
        pending.identities[0]["identity_id"]
        if pending
        else str(_made_up(auth, "identity", address))
    )
    now = timestamp(datetime.now(UTC))
    claims = {**data, **email_claims(user_id, address)}
    return {
        "id": str(user_id),
        "aud": "authenticated",
        "role": "authenticated",
        "email": address,
        "phone": "",
        "confirmation_sent_at": now,
        "app_metadata": EMAIL_PROVIDER,
        "user_metadata": claims,
        "identities": [
            {
                "identity_id": identity_id,
                "id": str(user_id),
                "user_id": str(user_id),
                "identity_data": claims,
                "provider": "email",
                "last_sign_in_at": now,
                "created_at": now,
                "updated_at": now,
                "email": address,
            }
        ],
        "created_at": now,
        "updated_at": now,
        "is_anonymous": False,
    }


def _made_up(auth: Auth, what: str, address: str) -> UUID:
    """An id for a user who does not exist: it looks random, and is the same for the same address."""
    secret = auth.settings.supabase_service_role_key.get_secret_value().encode()
    digest = hmac.digest(secret, f"{what}:{address}".encode(), hashlib.sha256)
    return UUID(bytes=digest[:16], version=4)
