"""Private channels: the policies on realtime.messages decide who may read and write a topic.

Reading is asked with a row for each extension that is inserted, looked for under the caller's role, and rolled back;
writing with an insert under the caller's role, rolled back as well.
"""

from typing import Any, Literal
from uuid import uuid4

import psycopg

from functions._platform.realtime.access import Access
from functions._shared.database.as_role import become
from functions._shared.database.pool import Pool

Extension = Literal["broadcast", "presence"]

INSERT = "insert into realtime.messages (id, topic, extension, private) values (%s, %s, %s, true)"
READ = "select id::text as id from realtime.messages where id = any(%s::uuid[])"
STATEMENT_TIMEOUT = "3s"
NOBODY: frozenset[Extension] = frozenset()


class _RollBack(Exception):
    pass


async def readable(pool: Pool, access: Access, topic: str) -> frozenset[Extension]:
    """What of the topic the caller may read. Raises psycopg.OperationalError while there is no database."""
    probes: dict[str, Extension] = {str(uuid4()): "broadcast", str(uuid4()): "presence"}
    found: frozenset[Extension] = NOBODY
    try:
        async with pool.connection() as connection, connection.transaction():
            for number, extension in probes.items():
                await connection.execute(INSERT, (number, topic, extension))
            await _become(connection, access, topic)
            cursor = await connection.execute(READ, ([*probes],))
            found = frozenset(probes[row["id"]] for row in await cursor.fetchall())
            raise _RollBack
    except _RollBack:
        return found
    except psycopg.Error as error:
        _raise_unless_refused(error)
        return NOBODY


async def may_write(pool: Pool, access: Access, topic: str, extension: Extension) -> bool:
    """Raises psycopg.OperationalError while there is no database."""
    try:
        async with pool.connection() as connection, connection.transaction():
            await _become(connection, access, topic)
            await connection.execute(INSERT, (str(uuid4()), topic, extension))
            raise _RollBack
    except _RollBack:
        return True
    except psycopg.Error as error:
        _raise_unless_refused(error)
        return False


async def _become(connection: psycopg.AsyncConnection[Any], access: Access, topic: str) -> None:
    await become(
        connection,
        access.role,
        access.claims_json,
        realtime__topic=topic,
        statement_timeout=STATEMENT_TIMEOUT,
    )


def _raise_unless_refused(error: psycopg.Error) -> None:
    """Fail closed: a policy that raises or takes too long lets nobody in, nor does a role or table that is none."""
    if isinstance(error, psycopg.OperationalError) and not isinstance(
        error, psycopg.errors.QueryCanceled
    ):
        raise error
