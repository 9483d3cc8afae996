"""Quota of a generation without a row: one use, which counts as running while the request does."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

import psycopg

from functions._shared.database.pool import Pool
from functions._shared.database.schema import OLDER
from functions._shared.database.sqlstates import (
    Scope,
    is_down,
    is_lost,
    lacks_function,
    refused,
    scope_of,
)
from functions._shared.errors import Unavailable

log = logging.getLogger(__name__)


@asynccontextmanager
async def counted(pool: Pool, user_id: UUID) -> AsyncIterator[None]:
    """The block is one use of the user's quotas. Raises TooManyRequests, Unavailable.

    Fail open while the database is down, or has no quotas: this function is the rollback target. Fail closed while the
    database is up and cannot answer (too many connections, a lock, a standby): each generation costs money.
    """
    use_id = await _spend(pool, user_id)
    try:
        yield
    finally:
        if use_id is not None:
            await pool.to_the_end(_end(pool, user_id, use_id))


async def _spend(pool: Pool, user_id: UUID) -> int | None:
    """Count a use; returns its id, None where the check was skipped (fail open) or no quota applies."""
    for again in (True, False):
        try:
            async with refused(), pool.connection() as connection:
                cursor = await connection.execute(
                    "select picture_edge.spend_quota(%s, p_source => 'generate-image') as id",
                    (user_id,),
                )
                row = cast(dict[str, int | None], await cursor.fetchone())
                return row["id"]
        except psycopg.Error as error:
            if lacks_function(error):
                if not await _knows_quotas(pool):
                    log.warning("quota not checked: the database knows none")
                    return None
                log.warning("quota not checked, the request refused: %s", OLDER)
                break
            if not is_down(error):
                raise
            if is_lost(error) and await pool.is_away():
                log.warning("quota not checked: the database is down (%s)", type(error).__name__)
                return None
            if again and scope_of(error) is Scope.SESSION:
                continue  # the server is there: a new connection will tell
            log.warning("quota not checked, the request refused: %s", type(error).__name__)
            break
    raise Unavailable("The quota cannot be checked at the moment, please try again")


async def _knows_quotas(pool: Pool) -> bool:
    """Whether there are quotas, though this code's function is absent: sql/ is older, which must not open them."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select to_regclass('public.user_quotas') is not null as known"
        )
        return cast(dict[str, bool], await cursor.fetchone())["known"]


async def _end(pool: Pool, user_id: UUID, use_id: int) -> None:
    try:
        async with pool.connection() as connection:
            await connection.execute("select picture_edge.end_quota_use(%s, %s)", (user_id, use_id))
    except psycopg.Error as error:
        # Expires by itself: SQL counts a use as running for 15 minutes at most, longer than any request takes.
        log.warning("the end of a use could not be written: %s", type(error).__name__)
