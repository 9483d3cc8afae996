"""auth.one_time_tokens, with the columns of auth.users that hold the same: store, find, use up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

from functions._platform.auth.mailed.one_time_tokens import PKCE, Column, Token
from functions._platform.auth.store.users import COLUMNS, INSTANCE, Connection, update_user, user_of
from functions._platform.auth.users import AUDIENCE, User

_COLUMNS: Mapping[Column, tuple[LiteralString, LiteralString]] = {
    "confirmation_token": ("confirmation_token", "confirmation_sent_at"),
    "recovery_token": ("recovery_token", "recovery_sent_at"),
    "email_change_token_new": ("email_change_token_new", "email_change_sent_at"),
    "email_change_token_current": ("email_change_token_current", "email_change_sent_at"),
    "reauthentication_token": ("reauthentication_token", "reauthentication_sent_at"),
}
"""Column → itself as a literal, and the column with the time of its mail."""


_STORED: LiteralString = """
select t.id, t.user_id, t.token_type::text as token_type, t.token_hash, case t.token_type
    when 'confirmation_token' then u.confirmation_token
    when 'recovery_token' then u.recovery_token
    when 'email_change_token_new' then u.email_change_token_new
    when 'email_change_token_current' then u.email_change_token_current
    when 'reauthentication_token' then u.reauthentication_token
end as code_hash
from auth.one_time_tokens as t inner join auth.users as u on u.id = t.user_id"""


@dataclass(frozen=True)
class Stored:
    """A row of auth.one_time_tokens; ``code_hash`` is of the user's row, "" without a code."""

    id: UUID
    user_id: UUID
    column: Column
    link_hash: str = field(repr=False)
    code_hash: str = field(repr=False)

    @property
    def is_pkce(self) -> bool:
        return self.link_hash.startswith(PKCE)


async def seconds_to_wait(
    connection: Connection, user_id: UUID, column: Column, frequency_s: int
) -> int | None:
    """Lock the user until the transaction ends; whole seconds until the next mail of this kind, None: now."""
    sent_at = _COLUMNS[column][1]
    query: LiteralString = (
        f"select extract(epoch from u.{sent_at} + make_interval(secs => %s) - clock_timestamp()) as left_s"
        " from auth.users as u where u.id = %s for no key update"
    )
    row = await (await connection.execute(query, (frequency_s, user_id))).fetchone()
    left = row["left_s"] if row else None
    return int(left) if left is not None and left > 0 else None


async def store_tokens(
    connection: Connection, user_id: UUID, tokens: Sequence[Token], **more: object
) -> User | None:
    """Store ``tokens`` in place of older ones of their kinds, sent now; ``more`` columns. None: no such user."""
    changes: dict[str, Any] = {}
    for token in tokens:
        column, sent_at = _COLUMNS[token.column]
        changes |= {column: token.code_hash, sent_at: datetime.now(UTC)}
    user = await update_user(connection, user_id, {**changes, **more})
    if user is None:
        return None
    for token in tokens:
        await connection.execute(
            """
insert into auth.one_time_tokens as t (id, user_id, token_type, token_hash, relates_to)
values (gen_random_uuid(), %s, %s::auth.one_time_token_type, %s, %s)
on conflict (user_id, token_type) do update
set token_hash = excluded.token_hash, relates_to = excluded.relates_to,
    created_at = excluded.created_at, updated_at = excluded.updated_at""",
            (user_id, token.column, token.link_hash, token.relates_to.lower()),
        )
    return user


async def find_by_link(
    connection: Connection, columns: Sequence[Column], link_hash: str
) -> Stored | None:
    query: LiteralString = (
        _STORED + " where t.token_hash = %s and t.token_type::text = any(%s) limit 1"
    )
    row = await (await connection.execute(query, (link_hash, list(columns)))).fetchone()
    return _stored(row) if row else None


async def find_by_address(
    connection: Connection, columns: Sequence[Column], address: str
) -> list[Stored]:
    """The tokens that were mailed to ``address``: the caller compares their codes, in constant time."""
    query: LiteralString = (
        _STORED
        + " where t.relates_to = %s and t.token_type::text = any(%s)"
        + " and u.instance_id = %s and u.aud = %s and not u.is_sso_user"
    )
    rows = await connection.execute(query, (address, list(columns), INSTANCE, AUDIENCE))
    return [_stored(row) for row in await rows.fetchall()]


@dataclass(frozen=True)
class Used:
    user: User
    expired: bool


async def use_up(connection: Connection, stored: Stored, life_s: int) -> Used | None:
    """Lock the user and delete the token. None: it has been used up or replaced meanwhile.

    The user first, always: two tokens of one user that are used at once would wait for each other (deadlock).
    """
    sent_at = _COLUMNS[stored.column][1]
    query: LiteralString = f"""
select {COLUMNS}, u.{sent_at} + make_interval(secs => %s) > now() as is_valid
from auth.users as u where u.id = %s for no key update of u"""
    row = await (await connection.execute(query, (life_s, stored.user_id))).fetchone()
    deleted = await connection.execute(
        "delete from auth.one_time_tokens where id = %s and token_hash = %s",
        (stored.id, stored.link_hash),
    )
    if row is None or deleted.rowcount != 1:
        return None
    return Used(user_of(row), expired=not row["is_valid"])


async def clear_tokens(connection: Connection, user_id: UUID) -> None:
    """All tokens of a user, of which no link or code works any more."""
    await connection.execute("delete from auth.one_time_tokens where user_id = %s", (user_id,))


def _stored(row: Mapping[str, Any]) -> Stored:
    return Stored(
        id=row["id"],
        user_id=row["user_id"],
        column=row["token_type"],
        link_hash=row["token_hash"],
        code_hash=row["code_hash"] or "",
    )
