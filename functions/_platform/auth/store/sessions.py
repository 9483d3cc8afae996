"""auth.sessions, auth.refresh_tokens and auth.mfa_amr_claims: start, refresh, find and end a session."""

import base64
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from functions._platform.auth.store.users import COLUMNS, INSTANCE, Connection, user_of
from functions._platform.auth.users import User

TOKEN_CHARACTERS = 12
"""GoTrue's refresh tokens: base32 in lower case, 60 bits."""
REUSE_INTERVAL_S = 10
"""How long a refresh token that was exchanged is still accepted: for other tabs of the same browser."""
MAX_USER_AGENT = 1000


@dataclass(frozen=True)
class Client:
    """Who asks, as the session's row records it. ``ip`` None: a UNIX socket's other end."""

    user_agent: str
    ip: str | None


@dataclass(frozen=True)
class Session:
    """``amr``: authentication methods with Unix times, the newest first, as the access token claims them."""

    id: UUID
    user_id: UUID
    aal: str
    created_at: datetime
    amr: list[dict[str, Any]]


@dataclass(frozen=True)
class Granted:
    """A session as its client needs it, with the user whom it belongs to."""

    session: Session
    user: User
    refresh_token: str = field(repr=False)


# now() where the session is of this statement: the claims it inserts are not visible to it.
AMR: LiteralString = """
coalesce((
    select json_agg(
        json_build_object('method', c.authentication_method, 'timestamp', floor(extract(epoch from c.updated_at)))
        order by c.updated_at desc
    )
    from auth.mfa_amr_claims as c where c.session_id = s.id
), '[]') as session_amr"""
SESSION: LiteralString = (
    "s.id as session_id, s.user_id as session_user_id, coalesce(s.aal::text, 'aal1') as session_aal,"
    " s.created_at as session_created_at, " + AMR
)


def _session_of(row: Mapping[str, Any]) -> Session:
    return Session(
        id=row["session_id"],
        user_id=row["session_user_id"],
        aal=row["session_aal"],
        created_at=row["session_created_at"],
        amr=row["session_amr"],
    )


def new_refresh_token() -> str:
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()[:TOKEN_CHARACTERS]


async def start_session(
    connection: Connection,
    user_id: UUID,
    method: str,
    client: Client,
    *,
    encrypted_password: str | None = None,
) -> Granted | None:
    """A session of a user who has authenticated by ``method`` (password, otp, anonymous, …). None: no such user.

    ``encrypted_password``: what the user has to have still, as a new password ends all sessions of the old one.
    """
    query: LiteralString = f"""
with u as (
    update auth.users set last_sign_in_at = now(), updated_at = now()
    where id = %(user_id)s and (%(password)s::text is null or encrypted_password = %(password)s)
    returning *
), s as (
    insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
    select gen_random_uuid(), u.id, now(), now(), 'aal1', %(user_agent)s, %(ip)s::inet from u
    returning *
), c as (
    insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)
    select gen_random_uuid(), s.id, now(), now(), %(method)s from s
    returning *
), t as (
    insert into auth.refresh_tokens (instance_id, token, user_id, parent, session_id, revoked, created_at, updated_at)
    select %(instance)s, %(token)s, u.id, '', s.id, false, now(), now() from u cross join s
)
select {SESSION.replace("auth.mfa_amr_claims as c", "c")}, {COLUMNS} from u cross join s"""
    token = new_refresh_token()
    values = {
        "user_id": user_id,
        "instance": INSTANCE,
        "token": token,
        "method": method,
        "password": encrypted_password,
        **_of_client(client),
    }
    row = await (await connection.execute(query, values)).fetchone()
    return Granted(_session_of(row), user_of(row), token) if row else None


@dataclass(frozen=True)
class Presented:
    """A refresh token that a client presents, locked with its session until the transaction ends."""

    token: str = field(repr=False)
    revoked: bool
    reusable: bool
    """Whether it was exchanged at most REUSE_INTERVAL_S ago."""
    expired: bool
    """Whether the session has ended by its ``not_after``."""
    active_token: str | None = field(repr=False)
    """The session's newest token."""
    session: Session
    user: User


async def lock_refresh_token(connection: Connection, token: str) -> Presented | None:
    """The token with its session and user; concurrent refreshes of one session wait here. None: unknown token."""
    # The session is locked first, by its own statement: a snapshot from before the wait would not show the active token
    # that a concurrent refresh has made meanwhile.
    locked = await connection.execute(
        "select s.id from auth.refresh_tokens as t inner join auth.sessions as s on s.id = t.session_id"
        " where t.token = %s for no key update of s",
        (token,),
    )
    if await locked.fetchone() is None:
        return None
    query: LiteralString = f"""
select {SESSION}, {COLUMNS}, coalesce(t.revoked, false) as revoked,
    clock_timestamp() <= t.updated_at + make_interval(secs => %s) as reusable,
    coalesce(s.not_after < now(), false) as expired,
    (
        select a.token from auth.refresh_tokens as a
        where a.session_id = s.id and a.revoked is not true order by a.id desc limit 1
    ) as active_token
from auth.refresh_tokens as t
inner join auth.sessions as s on s.id = t.session_id
inner join auth.users as u on u.id = s.user_id
where t.token = %s"""
    row = await (await connection.execute(query, (REUSE_INTERVAL_S, token))).fetchone()
    if row is None:
        return None
    return Presented(
        token=token,
        revoked=row["revoked"],
        reusable=row["reusable"],
        expired=row["expired"],
        active_token=row["active_token"],
        session=_session_of(row),
        user=user_of(row),
    )


async def exchange_refresh_token(connection: Connection, old: Presented, client: Client) -> str:
    """The session's next refresh token in place of ``old`` (rotation). The session notes the time and the client."""
    token = new_refresh_token()
    await connection.execute(
        """
with revoked as (
    update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp()
    where session_id = %(session)s and revoked is not true
), refreshed as (
    update auth.sessions
    set refreshed_at = now() at time zone 'utc', updated_at = now(), user_agent = %(user_agent)s, ip = %(ip)s::inet
    where id = %(session)s
)
insert into auth.refresh_tokens (instance_id, token, user_id, parent, session_id, revoked, created_at, updated_at)
values (%(instance)s, %(token)s, %(user_id)s, %(parent)s, %(session)s, false, now(), now())""",
        {
            "session": old.session.id,
            "instance": INSTANCE,
            "token": token,
            "user_id": str(old.user.id),
            "parent": old.token,
            **_of_client(client),
        },
    )
    return token


async def find_user_and_session(
    connection: Connection, user_id: UUID, session_id: UUID | None
) -> tuple[User | None, Session | None]:
    """The user and its session, each None where there is none."""
    query: LiteralString = f"""
select {SESSION}, {COLUMNS} from auth.users as u
left join auth.sessions as s on s.id = %s and s.user_id = u.id
where u.id = %s"""
    row = await (await connection.execute(query, (session_id, user_id))).fetchone()
    if row is None:
        return None, None
    return user_of(row), _session_of(row) if row["session_id"] else None


async def end_session(connection: Connection, session_id: UUID) -> None:
    """Its refresh tokens are deleted with it (on delete cascade)."""
    await connection.execute("delete from auth.sessions where id = %s", (session_id,))


async def end_sessions(connection: Connection, user_id: UUID, *, but: UUID | None = None) -> None:
    """All sessions of a user, ``but`` excepted."""
    await connection.execute(
        "delete from auth.sessions where user_id = %s and id is distinct from %s", (user_id, but)
    )


def _of_client(client: Client) -> dict[str, str | None]:
    return {"user_agent": client.user_agent[:MAX_USER_AGENT], "ip": _address(client.ip)}


def _address(text: str | None) -> str | None:
    """Text that inet accepts: an IPv6 scope (%eth0) is left out."""
    try:
        return str(ipaddress.ip_address((text or "").partition("%")[0]))
    except ValueError:
        return None
