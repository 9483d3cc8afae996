"""Schema version check: whether the database has the sql/ that this code expects, by ``picture_edge.version()``."""

from typing import cast

import psycopg

from functions._shared.database.pool import Pool
from functions._shared.database.session import unfit_encoding
from functions._shared.database.sqlstates import is_down, lacks_function
from functions._shared.database.version import SCHEMA_VERSION

OLDER = "sql/ is older than the code: run make schema"
NEWER = "sql/ is newer than the code: update the code"
NO_DATABASE = "no database"
READ_ONLY = "the database is read-only: a standby, or default_transaction_read_only"


async def schema_mismatch(pool: Pool) -> str | None:
    """OLDER, NEWER or ``unfit_encoding``: what to do about a database that this code was not written for; None if fit.

    Raises psycopg.Error, except for an absent version: sql/ had none at first.
    """
    try:
        async with pool.connection() as connection:
            if unfit := unfit_encoding(connection):
                return unfit
            cursor = await connection.execute("select picture_edge.version() as version")
            row = cast(dict[str, int], await cursor.fetchone())
            found = row["version"]
    except psycopg.Error as error:
        if not lacks_function(error):
            raise
        found = 0
    if found == SCHEMA_VERSION:
        return None
    return OLDER if found < SCHEMA_VERSION else NEWER


async def trouble_of(error: psycopg.Error, pool: Pool) -> str:
    """Why a call of ours failed that should not, in words for /ready and the log: the version of sql/ if that is it."""
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return READ_ONLY
    if is_down(error):
        return NO_DATABASE
    try:
        return await schema_mismatch(pool) or NO_DATABASE
    except psycopg.Error:
        return NO_DATABASE
