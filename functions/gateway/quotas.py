"""QUOTA_*: the default quotas of users, stored in the database, where they are enforced."""

import asyncio
import logging

import psycopg

from functions._shared.database.pool import Pool
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

AGAIN_S = 5.0


async def keep_quotas(settings: Settings, pool: Pool) -> None:
    """Store QUOTA_* for all processes, retrying until the database answers. Without a QUOTA_* the stored ones stay."""
    quotas = (settings.quota_running, settings.quota_hourly, settings.quota_daily)
    while quotas != (None, None, None):
        try:
            async with pool.connection() as connection:
                await connection.execute("select public.set_user_quota(null, %s, %s, %s)", quotas)
            return
        except psycopg.Error as error:
            log.warning("quotas not written down yet: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_S)
