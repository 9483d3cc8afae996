"""/admin/users: create, list, read, change and delete users, for the service role only."""

import math
import secrets
import string
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.callers import admin_only
from functions._platform.auth.context import Auth, auth_of
from functions._platform.auth.durations import parse_duration
from functions._platform.auth.email_users import (
    EMAIL_PROVIDER,
    email_claims,
    email_exists,
    saving_user,
)
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.metadata import Metadata, check_metadata
from functions._platform.auth.passwords import MAX_BYTES, is_hash
from functions._platform.auth.store.one_time_tokens import clear_tokens
from functions._platform.auth.store.sessions import end_sessions
from functions._platform.auth.store.user_list import delete_user, list_users, soft_delete_user
from functions._platform.auth.store.users import (
    find_user,
    insert_user,
    is_address_taken,
    set_email_identity,
    set_password,
    update_user,
)
from functions._platform.auth.users import AUDIENCE, User, user_body

PER_PAGE = 50
MAX_PER_PAGE = 10_000
MAX_NUMBER = 2**63 - 1
MAX_ROLE = 63
"""Bytes of a PostgreSQL identifier."""


class AdminParams(Params):
    id: str = ""
    role: str = ""
    email: str = ""
    phone: str = ""
    password: str | None = None
    password_hash: str = ""
    email_confirm: bool = False
    user_metadata: Metadata | None = None
    app_metadata: Metadata | None = None
    ban_duration: str = ""


class DeleteParams(Params):
    should_soft_delete: bool = False


async def create(request: Request) -> Response:
    """A user, with a password, an imported hash, or neither."""
    await admin_only(request)
    auth = auth_of(request)
    params = await read_params(request, AdminParams)
    _check_no_phone(params)
    if not params.email:
        raise validation_failed("Cannot create a user without either an email or phone")
    address = valid_address(params.email)
    async with auth.pool.connection() as connection:
        if await is_address_taken(connection, address):
            raise email_exists()
    hashed = await _first_hash(auth, params)
    user_id = _chosen_id(params.id)
    verified = {"email_verified": True} if params.email_confirm else {}
    async with auth.pool.connection() as connection, connection.transaction():
        with saving_user("creating new user"):
            user = await insert_user(
                connection,
                user_id=user_id,
                email=address,
                encrypted_password=hashed,
                email_confirmed_at=datetime.now(UTC) if params.email_confirm else None,
                banned_until=_banned_until(params.ban_duration),
                role=_role(params.role) or AUDIENCE,
                app_meta_data=_without_nulls({**EMAIL_PROVIDER, **(params.app_metadata or {})}),
                user_meta_data={**(params.user_metadata or {}), **verified},
                identity_data=email_claims(user_id, address),
            )
        if user is None:
            raise email_exists()
        check_metadata(user)
    return JSONResponse(user_body(user))


async def read_page(request: Request) -> Response:
    """``page``, ``per_page``, ``filter``, ``sort``; Link and X-Total-Count tell of the other pages."""
    await admin_only(request)
    query = request.query_params
    page, per_page = _number(query.get("page"), 1), _number(query.get("per_page"), PER_PAGE)
    page, per_page = max(page, 1), min(per_page, MAX_PER_PAGE) or PER_PAGE
    async with auth_of(request).pool.connection() as connection:
        users, total = await list_users(
            connection,
            offset=min((page - 1) * per_page, MAX_NUMBER),
            limit=per_page,
            text=query.get("filter", "").replace("\0", ""),
            descending=_is_descending(query.get("sort")),
        )
    body = {"users": [user_body(user) for user in users], "aud": AUDIENCE}
    last = math.ceil(total / per_page)
    links = [_link(request, last, "last")]
    if last > page:
        links.insert(0, _link(request, page + 1, "next"))
    headers = {"Link": ", ".join(links), "X-Total-Count": str(total)}
    return JSONResponse(body, headers=headers)


async def read(request: Request) -> Response:
    await admin_only(request)
    return JSONResponse(user_body(await _user_of(request)))


async def change(request: Request) -> Response:
    """Whichever of the user's properties the body names, without any confirmation by mail."""
    await admin_only(request)
    auth = auth_of(request)
    user = await _user_of(request)
    params = await read_params(request, AdminParams)
    _check_no_phone(params)
    address = valid_address(params.email) if params.email else ""
    changes: dict[str, Any] = {}
    if params.ban_duration:
        changes["banned_until"] = _banned_until(params.ban_duration)
    if params.role:
        changes["role"] = _role(params.role)
    if address:
        changes |= {"email": address, "email_change": "", "email_change_confirm_status": 0}
    user_data = params.user_metadata
    if params.email_confirm:
        changes |= {"email_confirmed_at": datetime.now(UTC), "confirmation_token": ""}
        user_data = {"email_verified": True, **(user_data or {})}
        if address:
            changes["is_anonymous"] = False
    hashed = None
    if params.password is not None:
        auth.passwords.check_strength(params.password)
        hashed = await auth.passwords.hash(params.password)
    try:
        async with auth.pool.connection() as connection, connection.transaction():
            if hashed:
                await set_password(connection, user.id, hashed)
                await end_sessions(connection, user.id)
            if address:
                # A mailbox that is not the user's any more: its links, and a change of address that it began, end.
                await clear_tokens(connection, user.id)
                await set_email_identity(
                    connection,
                    user.id,
                    {
                        "sub": str(user.id),
                        "email": address,
                        "email_verified": params.email_confirm,
                    },
                )
            with saving_user("updating user"):
                changed = await update_user(
                    connection,
                    user.id,
                    changes,
                    user_data=user_data,
                    app_data=params.app_metadata,
                )
            if changed and (params.user_metadata or params.app_metadata):
                check_metadata(changed)
    except psycopg.errors.UniqueViolation:
        raise email_exists() from None
    return JSONResponse(user_body(_existing(changed)))


async def delete(request: Request) -> Response:
    """For good, or with ``should_soft_delete`` all but the id."""
    await admin_only(request)
    user = await _user_of(request)
    has_body = request.headers.get("content-length", "0") != "0"
    params = await read_params(request, DeleteParams) if has_body else DeleteParams()
    async with auth_of(request).pool.connection() as connection, connection.transaction():
        with saving_user("deleting user"):
            if params.should_soft_delete:
                await soft_delete_user(connection, user)
            else:
                await delete_user(connection, user.id)
    return JSONResponse({})


async def _user_of(request: Request) -> User:
    """The user whom the path names. Raises AuthError 404."""
    try:
        user_id = UUID(request.path_params["user_id"])
    except ValueError:
        raise AuthError(404, "validation_failed", "user_id must be an UUID") from None
    async with auth_of(request).pool.connection() as connection:
        return _existing(await find_user(connection, user_id))


def _existing(user: User | None) -> User:
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    return user


def _check_no_phone(params: AdminParams) -> None:
    if params.phone:
        raise AuthError(422, "phone_provider_disabled", "Phone logins are disabled")


async def _first_hash(auth: Auth, params: AdminParams) -> str:
    """Of the given password or hash; of a random password where there is neither."""
    if params.password_hash:
        if params.password is not None:
            raise validation_failed("Only a password or a password hash should be provided")
        if not is_hash(params.password_hash):
            raise validation_failed(
                "The password hash is not one of bcrypt, Argon2 or Firebase scrypt"
            )
        return params.password_hash
    password = params.password or "".join(
        secrets.choice(string.ascii_letters + string.digits) for _ in range(64)
    )
    if len(password.encode()) > MAX_BYTES:
        raise validation_failed(f"bcrypt: password length exceeds {MAX_BYTES} bytes")
    return await auth.passwords.hash(password)


def _chosen_id(text: str) -> UUID:
    if not text:
        return uuid4()
    try:
        user_id = UUID(text)
    except ValueError:
        raise validation_failed("ID must conform to the uuid v4 format") from None
    if user_id.int == 0:
        raise validation_failed("ID cannot be a nil uuid")
    return user_id


def _role(text: str) -> str:
    role = text.strip()
    if len(role.encode()) > MAX_ROLE:
        raise validation_failed(f"A role has {MAX_ROLE} bytes at most")
    return role


def _banned_until(duration: str) -> datetime | None:
    """``none`` or a duration from now on; None: not banned."""
    if duration in {"", "none"}:
        return None
    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise validation_failed(f"invalid format for ban duration: {error}") from None
    return datetime.now(UTC) + length if length else None


def _without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _number(text: str | None, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise validation_failed(
            f'Bad Pagination Parameters: strconv.ParseUint: parsing "{text[:50]}": invalid syntax'
        )
    return int(text)


def _is_descending(text: str | None) -> bool:
    """Of ``sort``: created_at, created_at asc, created_at desc."""
    field, _, direction = (text or "created_at").partition(" ")
    if field != "created_at":
        raise validation_failed(f"Bad Sort Parameters: bad field for sort '{field[:50]}'")
    if direction.upper() not in {"", "ASC", "DESC"}:
        raise validation_failed(
            f"Bad Sort Parameters: bad direction for sort '{direction[:50]}', only 'asc' and 'desc' allowed"
        )
    return direction.upper() != "ASC"


def _link(request: Request, page: int, relation: str) -> str:
    query = urlencode({**request.query_params, "page": page})
    return f'</admin/users?{query}>; rel="{relation}"'
