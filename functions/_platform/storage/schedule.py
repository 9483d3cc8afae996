"""The janitor's schedule: a job of the queue now and then, whichever process thinks of it first."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import PoolTimeout

from functions._platform.storage.context import Storage

log = logging.getLogger(__name__)

FIRST_S = 300.0
EVERY_S = 3600.0
ENQUEUE = """
select public.enqueue_job('cleanup-storage', '{}', p_priority => -1, p_dedupe_key => 'storage-janitor')
where not exists (
    select from public.job_queue
    where job_type = 'cleanup-storage' and payload = '{}' and created_at > now() - %s * interval '1 second'
)
"""


@asynccontextmanager
async def janitor_scheduled(storage: Storage) -> AsyncIterator[None]:
    task = asyncio.create_task(_schedule(storage))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _schedule(storage: Storage) -> None:
    wait_s = FIRST_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s = EVERY_S
        try:
            async with storage.pool.connection() as connection:
                await connection.execute(ENQUEUE, (EVERY_S / 2,))
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("the storage janitor is not queued: %s", type(error).__name__)
