"""Private channels: the policies on realtime.messages decide who may read and write a topic.

Reading is asked with a row that is inserted, looked for under the caller's role, and rolled back; writing with an
insert under the caller's role, rolled back as well.
"""

from typing import Literal

import psycopg

from functions._platform.realtime.access import Access
from functions._shared.database.pool import Pool

Extension = Literal["broadcast", "presence"]

INSERT = "insert into realtime.messages (topic, extension, private) values (%(topic)s, %(extension)s, true)"
BECOME = """
select set_config('role', %(role)s, true), set_config('request.jwt.claims', %(claims)s, true),
    set_config('realtime.topic', %(topic)s, true)
"""
READ = "select exists (select from realtime.messages where topic = %(topic)s and extension = %(extension)s) as may"


class _RollBack(Exception):
    pass


async def may_read(pool: Pool, access: Access, topic: str, extension: Extension) -> bool:
    """Raises psycopg.OperationalError while there is no database."""
    return await _asked(pool, access, topic, extension, is_write=False)


async def may_write(pool: Pool, access: Access, topic: str, extension: Extension) -> bool:
    """Raises psycopg.OperationalError while there is no database."""
    return await _asked(pool, access, topic, extension, is_write=True)


async def _asked(
    pool: Pool, access: Access, topic: str, extension: Extension, *, is_write: bool
) -> bool:
    values = {
        "topic": topic,
        "extension": extension,
        "role": access.role,
        "claims": access.claims_json,
    }
    may = False
    try:
        async with pool.connection() as connection, connection.transaction():
            if not is_write:
                await connection.execute(INSERT, values)
            await connection.execute(BECOME, values)
            if is_write:
                await connection.execute(INSERT, values)
                may = True
            else:
                cursor = await connection.execute(READ, values)
                row = await cursor.fetchone()
                may = bool(row and row["may"])
            raise _RollBack
    except _RollBack:
        return may
    except psycopg.errors.InsufficientPrivilege:
        return False
    except (psycopg.ProgrammingError, psycopg.DataError):  # no such table, role or value
        return False
