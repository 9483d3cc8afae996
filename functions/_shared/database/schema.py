"""Whether the database's sql/ is the one that this code was written for, by ``picture_edge.version()``."""

from typing import cast

import psycopg

from functions._shared.database.pool import DATABASE_DOWN, Pool

SCHEMA_VERSION = 1
"""What ``picture_edge.version()`` answers where sql/ is as the code expects it; tests hold the two together."""


async def schema_mismatch(pool: Pool) -> str | None:
    """What to do about a database of another version, in words; None where it is the right one.

    Raises what the database raises, but for a version that is absent: older sql/ had none.
    """
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute("select picture_edge.version() as version")
            row = cast(dict[str, int], await cursor.fetchone())
            found = row["version"]
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
        found = 0
    if found == SCHEMA_VERSION:
        return None
    if found < SCHEMA_VERSION:
        return "sql/ is older than the code: run make schema"
    return "sql/ is newer than the code: update the code"


async def trouble_of(error: psycopg.Error, pool: Pool) -> str:
    """Why a call of ours failed that should not, in words for /ready and the log: the version of sql/ if that is it."""
    if isinstance(error, DATABASE_DOWN):
        return "no database"
    try:
        return await schema_mismatch(pool) or "database error"
    except psycopg.Error:
        return "database error"
