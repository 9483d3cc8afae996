"""POST /admin/generate_link: a link that the caller mails by its own means. The service role only."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.callers import admin_only
from functions._platform.auth.context import auth_of
from functions._platform.auth.email_users import add_email_user, email_exists
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.mailed.one_time_tokens import Token, new_token
from functions._platform.auth.mailed.redirects import redirect_of, verify_link
from functions._platform.auth.metadata import Metadata, check_metadata
from functions._platform.auth.store.one_time_tokens import store_tokens
from functions._platform.auth.store.users import Connection, find_user_by_email, update_user
from functions._platform.auth.users import User, user_body

NEW_USERS = frozenset({"signup", "invite"})
RECOVERIES = frozenset({"magiclink", "recovery"})
EMAIL_CHANGES = frozenset({"email_change_current", "email_change_new"})


class LinkParams(Params):
    type: str = ""
    email: str = ""
    new_email: str = ""
    password: str = ""
    data: Metadata = Field(default_factory=dict)
    redirect_to: str = ""


@dataclass(frozen=True)
class Issued:
    """``more``: columns that are set with the token."""

    user: User
    token: Token
    more: Mapping[str, object]


async def generate_link(request: Request) -> Response:
    """The user with action_link, email_otp, hashed_token, verification_type, redirect_to. No mail is sent."""
    await admin_only(request)
    auth = auth_of(request)
    params = await read_params(request, LinkParams)
    address = valid_address(params.email)
    if params.type not in NEW_USERS | RECOVERIES | EMAIL_CHANGES:
        raise validation_failed(f"Invalid email action link type requested: {params.type[:50]}")
    async with auth.pool.connection() as connection:
        user = await find_user_by_email(connection, address)
    kind = params.type
    if user is None and kind == "magiclink":
        kind, params = "signup", params.model_copy(update={"password": secrets.token_urlsafe(48)})
    if user is None and kind not in NEW_USERS:
        raise AuthError(404, "user_not_found", "User with this email not found")
    is_first = user is None or bool(params.password)
    password = await _new_password(request, params) if kind == "signup" and is_first else None
    async with auth.pool.connection() as connection, connection.transaction():
        issued = await _issue(request, connection, kind, params, address, user, password)
        stored = await store_tokens(connection, issued.user.id, [issued.token], **issued.more)
    if stored is None:
        raise AuthError(404, "user_not_found", "User not found")
    redirect_to = redirect_of(request, auth.settings, params.redirect_to)
    verified = "email_change" if kind in EMAIL_CHANGES else kind
    return JSONResponse(
        {
            **user_body(stored),
            "action_link": verify_link(
                auth.settings, issued.token.link_hash, verified, redirect_to
            ),
            "email_otp": issued.token.otp,
            "hashed_token": issued.token.link_hash,
            "verification_type": kind,
            "redirect_to": redirect_to,
        }
    )


async def _new_password(request: Request, params: LinkParams) -> str:
    """The hash. Raises AuthError validation_failed, weak_password."""
    if not params.password:
        raise validation_failed("Signup requires a valid password")
    passwords = auth_of(request).passwords
    passwords.check_strength(params.password)
    return await passwords.hash(params.password)


async def _issue(
    request: Request,
    connection: Connection,
    kind: str,
    params: LinkParams,
    address: str,
    user: User | None,
    password: str | None,
) -> Issued:
    """The user of the link, made where ``kind`` makes one, and its token."""
    if user is None:
        user = await add_email_user(connection, address, params.data, encrypted_password=password)
    elif kind == "signup" and not user.is_confirmed:
        user = await update_user(connection, user.id, {}, user_data=params.data)
        if user:
            check_metadata(user)
    if user is None or (kind in NEW_USERS and user.is_confirmed):
        raise email_exists()
    if kind in NEW_USERS:
        # Pre-hijacking: a password that somebody chose at a sign-up with this address ends.
        more: dict[str, object] = {"encrypted_password": password}
        if kind == "invite":
            more["invited_at"] = datetime.now(UTC)
        return Issued(user, new_token("confirmation_token", address), more)
    if kind in RECOVERIES:
        return Issued(user, new_token("recovery_token", address), {})
    return await _email_change(request, connection, kind, params, user)


async def _email_change(
    request: Request, connection: Connection, kind: str, params: LinkParams, user: User
) -> Issued:
    is_current = kind == "email_change_current"
    if is_current and not auth_of(request).settings.mailer_secure_email_change_enabled:
        raise validation_failed("Enable secure email change to generate link for current email")
    address = valid_address(params.new_email)
    other = await find_user_by_email(connection, address)
    if other is not None and other.id != user.id:
        raise email_exists()
    begun = {"email_change": address, "email_change_confirm_status": 0}
    token = (
        new_token("email_change_token_current", user.email or "")
        if is_current
        else new_token("email_change_token_new", address)
    )
    return Issued(user, token, begun)
