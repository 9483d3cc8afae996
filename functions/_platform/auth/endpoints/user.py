"""GET and PUT /user: the signed-in user."""

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.callers import SignedIn, signed_in
from functions._platform.auth.context import Auth, auth_of
from functions._platform.auth.email_users import email_exists
from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailed.verification import change_email, with_providers
from functions._platform.auth.metadata import Metadata, check_metadata
from functions._platform.auth.pkce import challenge_of
from functions._platform.auth.store.sessions import end_sessions
from functions._platform.auth.store.users import (
    Connection,
    is_address_taken,
    set_password,
    update_user,
)
from functions._platform.auth.users import User, user_body

FRESH = timedelta(hours=24)
"""Age of a session in which a new password needs no reauthentication."""


class UserParams(Params):
    email: str = ""
    phone: str = ""
    password: str | None = None
    nonce: str = ""
    data: Metadata | None = None
    app_metadata: dict[str, Any] | None = None
    code_challenge: str = ""
    code_challenge_method: str = ""


async def get_user(request: Request) -> Response:
    caller = await signed_in(request)
    return JSONResponse(user_body(caller.user))


async def put_user(request: Request) -> Response:
    """A new password, metadata, a new address: whichever the body names. A new address waits for its confirmation."""
    auth = auth_of(request)
    caller = await signed_in(request)
    auth.limits.check(request, "user")
    params = await read_params(request, UserParams)
    user = caller.user
    address = valid_address(params.email) if params.email else ""
    challenge = challenge_of(params.code_challenge_method, params.code_challenge)
    await _check(auth, user, params, address)
    hashed = await _hashed(auth, user, params.password)
    async with auth.pool.connection() as connection, connection.transaction():
        if hashed:
            await _check_fresh(auth, connection, caller, params.nonce)
            await set_password(connection, user.id, hashed)
            # Whoever else has a session may have known the old password.
            await end_sessions(
                connection, user.id, but=caller.session.id if caller.session else None
            )
        user = await update_user(connection, user.id, {}, user_data=params.data) or user
        if params.data:
            check_metadata(user)
        adopts = address and user.is_anonymous and auth.settings.enable_email_autoconfirm
        if adopts:  # an anonymous user becomes a permanent one
            user = await with_providers(connection, await change_email(connection, user, address))
    if address and not adopts and address != user.email:
        user = await auth.mails.send_email_change(request, user, address, challenge)
    return JSONResponse(user_body(user))


async def _check(auth: Auth, user: User, params: UserParams, address: str) -> None:
    """Raises AuthError for what the user may not change."""
    if params.password is not None:
        auth.passwords.check_strength(params.password)
    if params.app_metadata is not None:
        raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
    if user.is_anonymous and params.password and not address:
        raise AuthError(
            422,
            "validation_failed",
            "Updating password of an anonymous user without an email or phone is not allowed",
        )
    if params.phone and params.phone != user.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone logins are disabled")
    if address and address != user.email:
        async with auth.pool.connection() as connection:
            if await is_address_taken(connection, address, but=user.id):
                raise email_exists()


async def _hashed(auth: Auth, user: User, password: str | None) -> str | None:
    """The hash of a new password; None: it stays. Raises AuthError same_password."""
    if not password:
        return None
    if user.encrypted_password and await auth.passwords.matches(password, user.encrypted_password):
        raise AuthError(
            422, "same_password", "New password should be different from the old password."
        )
    return await auth.passwords.hash(password)


async def _check_fresh(auth: Auth, connection: Connection, caller: SignedIn, nonce: str) -> None:
    """Reauthentication, where the settings want it: a mailed nonce, unless the session is younger than a day."""
    if not auth.settings.security_update_password_require_reauthentication:
        return
    session = caller.session
    if session and datetime.now(UTC) < session.created_at + FRESH:
        return
    if not nonce:
        raise AuthError(400, "reauthentication_needed", "Password update requires reauthentication")
    await auth.mails.check_nonce(connection, caller.user, nonce)
