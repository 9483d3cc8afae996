"""The ends of attempts: written together under load (natural batching), retried while the database is away."""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

import psycopg

from functions._shared import jobs
from functions._shared.database.batching import Batcher
from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import is_down
from functions._shared.errors import LeaseLost
from functions.process_jobs import queue
from functions.process_jobs.queue import Ending

log = logging.getLogger(__name__)

BATCH = 1000
PAUSE_S = 0.25


class Outcomes:
    """Writes endings, each under its own fencing token. One to a worker."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._batcher: Batcher[Ending, None] = Batcher(self._write, BATCH)

    async def end(self, ending: Ending) -> None:
        """Write the end of an attempt. Raises LeaseLost, psycopg.Error."""
        await self._batcher.do(ending)

    async def end_or_bug(self, ending: Ending) -> Ending:
        """``end``; a result that cannot be stored is replaced by an error of class bug, so that the job ends.

        Returns the ending that was written. Raises LeaseLost, psycopg.Error.
        """
        try:
            await self.end(ending)
        except (psycopg.DataError, TypeError, ValueError):
            log.exception("job %s (%s): bug", ending.job.id, ending.job.job_type)
            ending = Ending(job=ending.job, error="Its result cannot be stored", error_class="bug")
            await self.end(ending)
        return ending

    async def _write(self, endings: Sequence[Ending]) -> Sequence[Exception | None]:
        ended = await self._retry(endings)
        return [
            None
            if ending.job.id in ended
            else LeaseLost(f"the lease of job {ending.job.id} is no longer held")
            for ending in endings
        ]

    async def _retry(self, endings: Sequence[Ending]) -> set[UUID]:
        """Retry while the leases last: perhaps only the reply was lost, and complete_jobs is idempotent."""
        loop = asyncio.get_running_loop()
        until = loop.time() + jobs.LEASE_S
        while True:
            try:
                return await queue.end_all(self._pool, endings)
            except psycopg.Error as error:
                if not is_down(error) or loop.time() > until:
                    raise
            await asyncio.sleep(PAUSE_S)
