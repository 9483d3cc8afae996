"""The ends of attempts, written together under load, and written again while the database is away."""

import asyncio
from collections.abc import Sequence

import psycopg

from functions._shared.database.batching import Batcher
from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import is_down
from functions._shared.errors import LeaseLost
from functions.process_jobs import queue
from functions.process_jobs.queue import Ending

BATCH = 1000
PAUSE_S = 0.25


class Outcomes:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._batcher: Batcher[Ending, None] = Batcher(self._write, BATCH)

    async def end(self, ending: Ending) -> None:
        """Write the end of an attempt. Raises LeaseLost, psycopg.Error."""
        await self._batcher.do(ending)

    async def _write(self, endings: Sequence[Ending]) -> Sequence[Exception | None]:
        ended = await self._try(endings)
        return [
            None if ending.job.id in ended else LeaseLost("its lease is no longer held")
            for ending in endings
        ]

    async def _try(self, endings: Sequence[Ending]) -> set[object]:
        """Again and again while the leases hold: the answer may be all that was lost, and a repetition is no change."""
        loop = asyncio.get_running_loop()
        until = loop.time() + queue.LEASE_S
        while True:
            try:
                return set(await queue.end_all(self._pool, endings))
            except psycopg.Error as error:
                if not is_down(error) or loop.time() > until:
                    raise
            await asyncio.sleep(PAUSE_S)
