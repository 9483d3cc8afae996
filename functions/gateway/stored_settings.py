"""Settings that the database needs as well: QUOTA_* is enforced there, policies name STORAGE_BUCKET."""

import asyncio
import logging

import psycopg

from functions._shared.database.pool import Pool
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

AGAIN_S = 5.0
SEEDED = Settings.model_fields["storage_bucket"].default
"""The bucket that sql/ names itself."""


async def store_settings(settings: Settings, pool: Pool) -> None:
    """Store them for all processes, retrying until the database answers. Without a QUOTA_* the stored ones stay."""
    quotas = (settings.quota_running, settings.quota_hourly, settings.quota_daily)
    bucket = settings.storage_bucket
    while quotas != (None, None, None) or bucket != SEEDED:
        try:
            async with pool.connection() as connection:
                if quotas != (None, None, None):
                    await connection.execute(
                        "select public.set_user_quota(null, %s, %s, %s)", quotas
                    )
                await connection.execute("select picture_edge.add_picture_bucket(%s)", (bucket,))
            return
        except psycopg.Error as error:
            log.warning("settings not written down yet: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_S)
