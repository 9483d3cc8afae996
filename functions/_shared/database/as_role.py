"""A transaction under a caller's role and claims, so that row-level security decides (impersonation, as PostgREST)."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from functions._shared.database.pool import Pool

SET = "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"


@asynccontextmanager
async def as_role(
    pool: Pool, role: str, claims_json: str, **more: str
) -> AsyncIterator[AsyncConnection[DictRow]]:
    """A transaction: committed at the end of the block, rolled back by an exception."""
    async with pool.connection() as connection, connection.transaction():
        await become(connection, role, claims_json, **more)
        yield connection


async def become(
    connection: AsyncConnection[Any], role: str, claims_json: str, **more: str
) -> None:
    """Impersonate the caller until the end of the transaction that ``connection`` is in; one round trip.

    ``more``: further settings, local to the transaction as well, with ``__`` for a dot in their names.
    """
    settings = {name.replace("__", "."): value for name, value in more.items()}
    further = "".join(", set_config(%s, %s, true)" for _ in settings)
    values = (role, claims_json, *itertools.chain(*settings.items()))
    await connection.execute(f"{SET}{further}".encode(), values)
