"""Periodic background work on the database, while a service is served."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from functions._shared.database.pool import Pool
from functions._shared.supervisor import Supervisor

log = logging.getLogger(__name__)

Work = Callable[[AsyncConnection[DictRow]], Awaitable[bool]]
"""Called in a transaction of its own; True: there is more to do at once."""


def periodically(
    supervisor: Supervisor,
    pool: Pool,
    work: Work,
    every_s: float,
    *,
    first_s: float | None = None,
) -> AbstractAsyncContextManager[None]:
    """Call ``work`` after ``first_s`` seconds (absent: ``every_s``), then every ``every_s``, until the block ends.

    Every process does it: ``work`` must be safe beside itself. An error of the database ends one round, not the loop.
    """
    wait_s = every_s if first_s is None else first_s
    return supervisor.running(work.__name__, lambda: _repeat(pool, work, every_s, wait_s))


async def _repeat(pool: Pool, work: Work, every_s: float, wait_s: float) -> None:
    while True:
        await asyncio.sleep(wait_s)
        more = False
        try:
            async with pool.connection() as connection:
                more = await work(connection)
        except (psycopg.Error, PoolTimeout) as error:
            # Not a warning: the database is away for a while, which others tell, or it lacks a service's tables.
            log.debug("%s is tried again later: %s", work.__name__, type(error).__name__)
        wait_s = 0 if more else every_s
