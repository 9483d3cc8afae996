"""How much a user may ask for: QUOTA_* for everybody, kept where SQL counts; and the question whether there is room."""

import asyncio
import logging
from uuid import UUID

import psycopg
import psycopg_pool

from functions._shared.database import DATABASE_DOWN, Pool, refused
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


async def check_quota(pool: Pool, user_id: UUID) -> None:
    """Raises TooManyRequests. While the database is down, or knows no quotas, everybody may."""
    try:
        async with refused(), pool.connection() as connection:
            await connection.execute("select public.check_quota(%s)", (user_id,))
    except (*DATABASE_DOWN, psycopg.errors.UndefinedFunction) as error:
        log.warning("quota not checked: %s", type(error).__name__)
