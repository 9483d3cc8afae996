"""How much a user may ask for: QUOTA_* for everybody, kept where SQL counts; and what is asked for without a row."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

import psycopg
import psycopg_pool

from functions._shared.database import DATABASE_DOWN, Pool, is_gone, refused
from functions._shared.errors import Unavailable
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

AGAIN_S = 5.0


async def keep_quotas(settings: Settings, pool: Pool) -> None:
    """Write QUOTA_* down for all processes, once the database answers. Without any of them what is there stays."""
    quotas = (settings.quota_running, settings.quota_hourly, settings.quota_daily)
    while quotas != (None, None, None):
        try:
            async with pool.connection() as connection:
                await connection.execute("select public.set_user_quota(null, %s, %s, %s)", quotas)
            return
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            log.warning("quotas not written down yet: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_S)


@asynccontextmanager
async def counted(pool: Pool, user_id: UUID) -> AsyncIterator[None]:
    """What is done inside is one use of the user's quotas, and runs as long as the block. Raises TooManyRequests.

    While the database is down, or knows no quotas, everybody may. One that is there and does not answer the question
    (too many connections, a lock, a standby) is no reason to pay: Unavailable.
    """
    use_id = await _spend(pool, user_id)
    try:
        yield
    finally:
        if use_id is not None:
            await pool.to_the_end(_end(pool, user_id, use_id))


async def _spend(pool: Pool, user_id: UUID) -> int | None:
    """The id of the use; None where nothing was counted."""
    for again in (True, False):
        try:
            async with refused(), pool.connection() as connection:
                cursor = await connection.execute(
                    "select picture_edge.spend_quota(%s, p_source => 'generate-image') as id",
                    (user_id,),
                )
                row = cast(dict[str, int | None], await cursor.fetchone())
                return row["id"]
        except psycopg.errors.UndefinedFunction:
            log.warning("quota not checked: the database knows none")
            return None
        except (*DATABASE_DOWN, psycopg.errors.ReadOnlySqlTransaction) as error:
            gone = is_gone(error)
            if gone and await pool.is_away():
                log.warning("quota not checked: the database is down (%s)", type(error).__name__)
                return None
            # Lost on the way, and the server is there: a new connection will tell.
            if again and gone and not isinstance(error, psycopg_pool.PoolTimeout):
                continue
            log.warning("quota not checked, the request refused: %s", type(error).__name__)
            break
    raise Unavailable("The quota cannot be checked at the moment, please try again")


async def _end(pool: Pool, user_id: UUID, use_id: int) -> None:
    try:
        async with pool.connection() as connection:
            await connection.execute("select picture_edge.end_quota_use(%s, %s)", (user_id, use_id))
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        # It stops counting as running by itself, once no call can take that long.
        log.warning("the end of a use could not be written: %s", type(error).__name__)
