"""auth.users and auth.identities: find, insert, update."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier, Placeholder
from psycopg.types.json import Jsonb

from functions._platform.auth.users import AUDIENCE, User

Connection = AsyncConnection[DictRow]

INSTANCE = UUID(int=0)
"""``instance_id`` of all rows, as GoTrue writes and expects it."""

# Times as text here, so that the rows become JSON without being parsed again.
IDENTITIES: LiteralString = """
coalesce((
    select json_agg(json_build_object(
        'identity_id', i.id, 'id', i.provider_id, 'user_id', i.user_id, 'identity_data', i.identity_data,
        'provider', i.provider,
        'last_sign_in_at', to_char(i.last_sign_in_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'created_at', to_char(i.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(i.updated_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'email', i.email
    ) order by i.created_at, i.id)
    from auth.identities as i where i.user_id = u.id
), '[]') as identities"""

COLUMNS: LiteralString = (
    """
u.id, u.aud, u.role, u.email, u.encrypted_password, u.email_confirmed_at, u.invited_at, u.phone, u.phone_confirmed_at,
u.confirmation_sent_at, u.confirmed_at, u.recovery_sent_at, u.email_change, u.email_change_sent_at,
u.email_change_confirm_status, u.reauthentication_sent_at, u.last_sign_in_at,
coalesce(u.raw_app_meta_data, '{}') as app_meta_data, coalesce(u.raw_user_meta_data, '{}') as user_meta_data,
coalesce(u.created_at, now()) as created_at, coalesce(u.updated_at, u.created_at, now()) as updated_at,
u.banned_until, u.deleted_at, u.is_sso_user, u.is_anonymous, """
    + IDENTITIES
)
"""The select list of a User from ``auth.users as u``."""

_FIELDS = [field.name for field in fields(User)]


def user_of(row: Mapping[str, Any]) -> User:
    """A row with COLUMNS; others are left out."""
    return User(**{name: row[name] for name in _FIELDS})


async def find_user(connection: Connection, user_id: UUID) -> User | None:
    query: LiteralString = f"select {COLUMNS} from auth.users as u where u.id = %s"
    row = await (await connection.execute(query, (user_id,))).fetchone()
    return user_of(row) if row else None


async def find_user_by_email(connection: Connection, email: str) -> User | None:
    """``email`` in lower case. Deleted users keep no address; users of single sign-on are not found."""
    # instance_id first: GoTrue's index is on (instance_id, lower(email)).
    query: LiteralString = (
        f"select {COLUMNS} from auth.users as u"
        " where u.instance_id = %s and lower(u.email) = %s and u.aud = %s and not u.is_sso_user"
    )
    row = await (await connection.execute(query, (INSTANCE, email, AUDIENCE))).fetchone()
    return user_of(row) if row else None


async def insert_user(
    connection: Connection,
    *,
    user_id: UUID,
    email: str | None = None,
    encrypted_password: str | None = None,
    email_confirmed_at: datetime | None = None,
    invited_at: datetime | None = None,
    banned_until: datetime | None = None,
    role: str = AUDIENCE,
    is_anonymous: bool = False,
    app_meta_data: Mapping[str, Any],
    user_meta_data: Mapping[str, Any],
    identity_data: Mapping[str, Any] | None = None,
) -> User | None:
    """A new user; with ``identity_data``, the data of its identity of provider email. None: address or id is taken."""
    # An empty token, not null: GoTrue cannot read rows with null ones.
    query: LiteralString = f"""
with u as (
    insert into auth.users (
        instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, invited_at, banned_until,
        confirmation_token, recovery_token, email_change_token_new, email_change, raw_app_meta_data,
        raw_user_meta_data, created_at, updated_at, is_anonymous
    )
    values (
        %(instance)s, %(id)s, %(aud)s, %(role)s, %(email)s, %(password)s, %(confirmed_at)s, %(invited_at)s,
        %(banned_until)s, '', '', '', '', %(app)s, %(data)s, now(), now(), %(anonymous)s
    )
    on conflict do nothing
    returning *
), new_identities as (
    insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
    select u.id::text, u.id, %(identity)s::jsonb, 'email', now(), now(), now()
    from u where %(identity)s::jsonb is not null
    returning *
)
select {COLUMNS.replace("auth.identities", "new_identities")} from u"""
    values = {
        "instance": INSTANCE,
        "id": user_id,
        "aud": AUDIENCE,
        "role": role,
        "email": email,
        "password": encrypted_password,
        "confirmed_at": email_confirmed_at,
        "invited_at": invited_at,
        "banned_until": banned_until,
        "app": Jsonb(dict(app_meta_data)),
        "data": Jsonb(dict(user_meta_data)),
        "anonymous": is_anonymous,
        "identity": None if identity_data is None else Jsonb(dict(identity_data)),
    }
    row = await (await connection.execute(query, values)).fetchone()
    return user_of(row) if row else None


async def update_user(
    connection: Connection,
    user_id: UUID,
    changes: Mapping[str, Any],
    *,
    user_data: Mapping[str, Any] | None = None,
    app_data: Mapping[str, Any] | None = None,
) -> User | None:
    """Set columns; merge the metadata, in which a null removes its key. None: no such user."""
    merged = {"raw_user_meta_data": user_data, "raw_app_meta_data": app_data}
    merges = {column: data for column, data in merged.items() if data is not None}
    settings = [
        *(SQL("{} = {}").format(Identifier(name), Placeholder(name)) for name in changes),
        *(
            SQL("{0} = (coalesce({0}, '{{}}') || {1}::jsonb) - {2}::text[]").format(
                Identifier(column), Placeholder(column), Placeholder(f"{column}_removed")
            )
            for column in merges
        ),
        SQL("updated_at = now()"),
    ]
    values: dict[str, Any] = {**changes, "user_id": user_id}
    for column, data in merges.items():
        values[column] = Jsonb({key: value for key, value in data.items() if value is not None})
        values[f"{column}_removed"] = [key for key, value in data.items() if value is None]
    query = SQL("update auth.users as u set {} where u.id = {} returning {}").format(
        SQL(", ").join(settings), Placeholder("user_id"), SQL(COLUMNS)
    )
    row = await (await connection.execute(query, values)).fetchone()
    return user_of(row) if row else None


async def set_email_identity(
    connection: Connection, user_id: UUID, data: Mapping[str, Any]
) -> None:
    """Merge ``data`` into the identity of provider email, which is made where it is absent."""
    await connection.execute(
        """
insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
values (%(id)s::text, %(id)s::uuid, %(data)s, 'email', now(), now(), now())
on conflict (provider_id, provider) do update
set identity_data = identities.identity_data || excluded.identity_data, updated_at = now()""",
        {"id": str(user_id), "data": Jsonb(dict(data))},
    )


async def set_password(
    connection: Connection, user_id: UUID, encrypted_password: str | None
) -> None:
    """A new password. Mailed tokens end with the old one: a mailbox may be in the hands of whoever knew that."""
    await connection.execute(
        """
with forgotten as (delete from auth.one_time_tokens where user_id = %(id)s)
update auth.users
set encrypted_password = %(password)s, confirmation_token = '', confirmation_sent_at = null, recovery_token = '',
    recovery_sent_at = null, email_change_token_current = '', email_change_token_new = '', email_change_sent_at = null,
    phone_change_token = '', phone_change_sent_at = null, reauthentication_token = '', reauthentication_sent_at = null,
    updated_at = now()
where id = %(id)s""",
        {"id": user_id, "password": encrypted_password},
    )


async def is_address_taken(connection: Connection, email: str, but: UUID | None = None) -> bool:
    """Whether another user, or an identity of another user, has the address, in lower case."""
    found = await connection.execute(
        "select 1 from auth.users where instance_id = %(instance)s and lower(email) = %(email)s and not is_sso_user"
        " and id is distinct from %(but)s union all"
        " select 1 from auth.identities where email = %(email)s and provider not like 'sso:%%'"
        " and user_id is distinct from %(but)s limit 1",
        {"instance": INSTANCE, "email": email, "but": but},
    )
    return await found.fetchone() is not None
