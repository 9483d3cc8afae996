"""A one-time token, by its hash or by address and code: checked, used up once, and what it grants carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from functions._platform.auth.email_users import email_exists
from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailed.attempts import Attempts
from functions._platform.auth.mailed.one_time_tokens import Column
from functions._platform.auth.store.one_time_tokens import (
    Stored,
    clear_tokens,
    find_by_address,
    find_by_link,
    use_up,
)
from functions._platform.auth.store.users import (
    Connection,
    find_user,
    set_email_identity,
    update_user,
)
from functions._platform.auth.users import User
from functions._shared.settings import Settings

CONFIRMATION: Sequence[Column] = ("confirmation_token",)
RECOVERY: Sequence[Column] = ("recovery_token",)
EMAIL_CHANGE: Sequence[Column] = ("email_change_token_current", "email_change_token_new")
COLUMNS: Mapping[str, Sequence[Column]] = {
    "signup": CONFIRMATION,
    "invite": CONFIRMATION,
    "recovery": RECOVERY,
    "magiclink": RECOVERY,
    "email": (*CONFIRMATION, *RECOVERY),
    "email_change": EMAIL_CHANGE,
}
"""``type`` of a verification → the tokens that it takes."""


@dataclass(frozen=True)
class Verified:
    """``type``: as asked; for email what the token was. ``user`` None: the other address has to confirm the change."""

    user: User | None
    type: str
    is_pkce: bool = False


async def verify_hash(
    connection: Connection, settings: Settings, type: str, token_hash: str
) -> Verified:
    """By the hash that stands in a link. Raises AuthError otp_expired, user_banned, validation_failed."""
    if type not in COLUMNS:
        raise AuthError(400, "validation_failed", "Invalid email verification type")
    stored = await find_by_link(connection, COLUMNS[type], token_hash)
    return await _verify(connection, settings, type, stored, _link_expired())


async def verify_code(
    connection: Connection,
    settings: Settings,
    attempts: Attempts,
    type: str,
    address: str,
    code: str,
) -> Verified:
    """By the code that was mailed to ``address``. Raises as ``verify_hash``."""
    found = await find_by_address(connection, COLUMNS.get(type, ()), address)
    stored = attempts.right_one(found, address, code)
    return await _verify(connection, settings, type, stored, _code_expired())


def _link_expired() -> AuthError:
    return AuthError(403, "otp_expired", "Email link is invalid or has expired")


def _code_expired() -> AuthError:
    return AuthError(403, "otp_expired", "Token has expired or is invalid")


async def _verify(
    connection: Connection,
    settings: Settings,
    type: str,
    stored: Stored | None,
    refused: AuthError,
) -> Verified:
    used = await use_up(connection, stored, settings.mailer_otp_exp) if stored else None
    if stored is None or used is None:
        raise refused
    if used.user.is_banned:
        raise AuthError(403, "user_banned", "User is banned")
    if used.expired:
        raise refused
    if type == "email":
        type = "signup" if stored.column == "confirmation_token" else "magiclink"
    user: User | None
    if stored.column == "confirmation_token":
        user = await confirm(connection, used.user)
    elif stored.column == "recovery_token":
        user = await _recover(connection, used.user)
    else:
        user = await _confirm_email_change(connection, settings, used.user, stored.column)
    if user is not None:
        user = await with_providers(connection, user)
    return Verified(user, type, stored.is_pkce)


async def confirm(connection: Connection, user: User) -> User:
    """The address of ``user`` is proved. No other token of the user works any more."""
    await clear_tokens(connection, user.id)
    if any((one["provider"], one["email"]) == ("email", user.email) for one in user.identities):
        await set_email_identity(connection, user.id, {"email_verified": True})
    changes = {"confirmation_token": "", "email_confirmed_at": datetime.now(UTC)}
    return await _updated(connection, user, changes, user_data={"email_verified": True})


async def change_email(connection: Connection, user: User, address: str) -> User:
    """``address`` is proved, and becomes the user's. Raises AuthError email_exists: it was taken meanwhile."""
    changes = {
        "email": address,
        "email_change": "",
        "email_change_token_current": "",
        "email_change_token_new": "",
        "email_change_confirm_status": 0,
        "is_anonymous": False,
    }
    try:
        async with connection.transaction():
            user = await _updated(connection, user, changes)
    except psycopg.errors.UniqueViolation:
        raise email_exists() from None
    data = {"sub": str(user.id), "email": address, "email_verified": True}
    await set_email_identity(connection, user.id, data)
    await clear_tokens(connection, user.id)
    return user if user.is_confirmed else await confirm(connection, user)


async def _recover(connection: Connection, user: User) -> User:
    """Pre-hijacking: a password that was chosen before the address was confirmed may be a stranger's, and ends."""
    await clear_tokens(connection, user.id)
    changes = (
        {"recovery_token": ""}
        if user.is_confirmed
        else {"recovery_token": "", "encrypted_password": None}
    )
    user = await _updated(connection, user, changes)
    return user if user.is_confirmed else await confirm(connection, user)


async def _confirm_email_change(
    connection: Connection, settings: Settings, user: User, column: Column
) -> User | None:
    """None: the first of two confirmations."""
    takes_two = (
        settings.mailer_secure_email_change_enabled and not settings.enable_email_autoconfirm
    )
    if takes_two and user.email and not user.email_change_confirm_status:
        await _updated(connection, user, {column: "", "email_change_confirm_status": 1})
        return None
    return await change_email(connection, user, user.email_change or "")


async def with_providers(connection: Connection, user: User) -> User:
    """``app_metadata`` names the providers of the identities."""
    found = await find_user(connection, user.id)
    providers = list(dict.fromkeys(one["provider"] for one in found.identities)) if found else []
    named = {"provider": providers[0], "providers": providers} if providers else {}
    return await _updated(connection, user, {}, app_data=named)


async def _updated(
    connection: Connection, user: User, changes: Mapping[str, Any], **data: Mapping[str, Any]
) -> User:
    updated = await update_user(connection, user.id, changes, **data)
    assert updated is not None, "the row is locked"
    return updated
