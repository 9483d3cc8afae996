"""The service's background task: deletes stale rows, while it is served."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import PoolTimeout

from functions._platform.auth.store.stale_rows import delete_stale_rows
from functions._shared.database.pool import Pool

log = logging.getLogger(__name__)

EVERY_S = 60.0


@asynccontextmanager
async def housekeeping(pool: Pool) -> AsyncIterator[None]:
    """Every process does it: batches skip each other's rows."""
    task = asyncio.create_task(_keep_house(pool))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_house(pool: Pool) -> None:
    more = False
    while True:
        await asyncio.sleep(0 if more else EVERY_S)
        try:
            async with pool.connection() as connection:
                more = await delete_stale_rows(connection)
        except (psycopg.Error, PoolTimeout) as error:
            # Away for a while, or a database without these tables: the next round tries again.
            log.debug("stale rows not deleted: %s", type(error).__name__)
            more = False
