"""The service role's view of auth.users: pages of it, and the deletion of a user."""

import base64
import hashlib
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from functions._platform.auth.store.users import COLUMNS, INSTANCE, Connection, user_of
from functions._platform.auth.users import AUDIENCE, User

FILTERED: LiteralString = (
    " from auth.users as u where u.instance_id = %(instance)s and u.aud = %(aud)s"
    " and (%(filter)s = '' or position(%(filter)s in u.email) > 0"
    " or position(lower(%(filter)s) in lower(u.raw_user_meta_data ->> 'full_name')) > 0)"
)


async def list_users(
    connection: Connection, *, offset: int, limit: int, text: str, descending: bool
) -> tuple[list[User], int]:
    """A page by time of creation, and how many there are. ``text``: part of the address or of the full name."""
    values = {
        "instance": INSTANCE,
        "aud": AUDIENCE,
        "filter": text,
        "offset": offset,
        "limit": limit,
    }
    counted: LiteralString = f"select count(*) as total {FILTERED}"
    total = await (await connection.execute(counted, values)).fetchone()
    order: LiteralString = "desc" if descending else "asc"
    query: LiteralString = (
        f"select {COLUMNS} {FILTERED} order by u.created_at {order}, u.id {order}"
        " offset %(offset)s limit %(limit)s"
    )
    rows = await (await connection.execute(query, values)).fetchall()
    return [user_of(row) for row in rows], total["total"] if total else 0


async def delete_user(connection: Connection, user_id: UUID) -> None:
    """With identities, sessions and tokens (on delete cascade), and whatever of an app's cascades."""
    await connection.execute("delete from auth.users where id = %s", (user_id,))


async def soft_delete_user(connection: Connection, user: User) -> None:
    """Keep the row, so that an app's foreign keys hold, without anything personal: hashes stand for the addresses.

    As GoTrue does it; a transaction of the caller's holds the statements together.
    """
    if user.deleted_at is not None:
        return
    identities = [
        (identity["identity_id"], f"{identity['provider']}:{identity['id']}")
        for identity in user.identities
    ]
    await connection.execute(
        """
update auth.users
set email = %(email)s, phone = %(phone)s, email_change = %(email_change)s, phone_change = '', encrypted_password = null,
    confirmation_token = '', recovery_token = '', email_change_token_current = '', email_change_token_new = '',
    phone_change_token = '', reauthentication_token = '', raw_user_meta_data = %(nothing)s,
    raw_app_meta_data = %(nothing)s, deleted_at = now(), updated_at = now()
where id = %(id)s""",
        {
            "id": user.id,
            "email": _obscured(user.id, user.email or ""),
            "phone": _obscured(user.id, user.phone or "")[:15],
            "email_change": _obscured(user.id, user.email_change or ""),
            "nothing": Jsonb({}),
        },
    )
    for identity_id, provider_id in identities:
        await connection.execute(
            "update auth.identities set identity_data = '{}', provider_id = %s, updated_at = now() where id = %s",
            (_obscured(user.id, provider_id), identity_id),
        )
    await connection.execute("delete from auth.one_time_tokens where user_id = %s", (user.id,))
    await connection.execute("delete from auth.sessions where user_id = %s", (user.id,))


def _obscured(user_id: UUID, value: str) -> str:
    """GoTrue's: SHA-256 of id and value, in base64url. Unique, and not to be read back."""
    digest = hashlib.sha256(f"{user_id}{value}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
