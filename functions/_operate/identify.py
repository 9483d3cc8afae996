"""What a reader has typed or pasted: a UUID, or a user by id or e-mail address; users' addresses for what is shown."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from functions._operate.database import Reader

# Another owner's auth schema may not be readable; an id is then all there is.
READABLE = """
select case when to_regclass('auth.users') is not null and has_schema_privilege('auth', 'usage')
    then has_column_privilege('auth.users'::regclass, 'email', 'select')
        and has_column_privilege('auth.users'::regclass, 'id', 'select') end as readable
"""
EMAILS = "select id, email from auth.users where id = any (%(ids)s) and email is not null"
BY_EMAIL = "select id from auth.users where lower(email) = lower(%(email)s) limit 1"


def uuid_of(text: str) -> UUID | None:
    """None for anything else."""
    try:
        return UUID(text)
    except ValueError:
        return None


async def user_of(reader: Reader, text: str) -> UUID | None:
    """A user's id by that id or by an address; None where nobody has it."""
    if found := uuid_of(text):
        return found
    if "@" in text and await _readable(reader):
        row = await reader.row(BY_EMAIL, {"email": text})
        return row["id"] if row else None
    return None


async def emails(reader: Reader, ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """Those of the users that have one."""
    wanted = [*{one for one in ids if one}]
    if not wanted or not await _readable(reader):
        return {}
    rows: list[dict[str, Any]] = await reader.rows(EMAILS, {"ids": wanted})
    return {row["id"]: row["email"] for row in rows}


async def _readable(reader: Reader) -> bool:
    row = await reader.row(READABLE)
    return bool(row and row["readable"])
