"""What a process writes for operators: its row of ``workers`` as a heartbeat, and ``queue_history``."""

import asyncio
import logging
import socket
from importlib.metadata import version

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from functions._shared import jobs
from functions._shared.database.pool import Pool
from functions._shared.database.version import SCHEMA_VERSION
from functions.process_jobs.jobs import job_types
from functions.process_jobs.slots import Slots

log = logging.getLogger(__name__)

HISTORY_S = 60.0
"""How often a process offers to count what has ended; one of them does it."""
GONE_S = 1.0
"""How long a stop may wait for the row's removal."""


async def keep_presence(pool: Pool, worker_id: str, concurrency: int, slots: Slots) -> None:
    """Write the row as often as leases are renewed, until cancelled; then drop it. Raises nothing of the database's."""
    host = socket.gethostname()
    # Once, not each time: the version is read from the distribution's files.
    release = f"{version('picture-edge')} (sql {SCHEMA_VERSION})"
    try:
        while True:
            await _try(
                pool,
                "select picture_edge.worker_seen(%s, %s, %s, %s, %s, %s)",
                worker_id,
                host,
                release,
                concurrency - slots.free,
                concurrency,
                job_types(),
            )
            await asyncio.sleep(jobs.LEASE_S / 3)
    finally:
        try:
            async with asyncio.timeout(GONE_S):
                await _try(pool, "select picture_edge.worker_gone(%s)", worker_id)
        except TimeoutError:
            pass  # the row is dropped by the others, ten minutes later


async def keep_queue_history(connection: AsyncConnection[DictRow]) -> bool:
    """Count what has ended since the last time, unless another process does; whether there is more to count."""
    await connection.execute("select picture_edge.keep_spend_hours()")
    cursor = await connection.execute("select picture_edge.keep_queue_history() as more")
    more: bool = (await cursor.fetchall())[0]["more"]
    return more


async def _try(pool: Pool, statement: str, *arguments: object) -> None:
    try:
        async with pool.connection() as connection:
            await connection.execute(statement.encode(), arguments)
    except (psycopg.Error, PoolTimeout) as error:
        # Not a warning: the worker's own calls tell that the database is away, or sql/ older.
        log.debug("presence is told again later: %s", type(error).__name__)
