"""The ends of attempts: written together (natural batching), retried while the database is away, noted in the log."""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

import psycopg

from functions._shared import jobs
from functions._shared.database.batching import Batcher
from functions._shared.database.dedicated import Connections
from functions._shared.database.sqlstates import is_down
from functions._shared.errors import LeaseLost
from functions._shared.job_log import log_ended, logs_completed
from functions._shared.metrics import recording
from functions._shared.metrics.ended import Ended
from functions.process_jobs import queue
from functions.process_jobs.queue import Ending

log = logging.getLogger(__name__)

BATCH = 1000
PAUSE_S = 0.25


class Outcomes:
    """Writes endings, each under its own fencing token. One to a worker."""

    def __init__(self, connections: Connections, ended: Ended) -> None:
        self._connections = connections
        self._ended = ended
        self._batcher: Batcher[Ending, None] = Batcher(self._write, BATCH)

    async def settle(self, endings: Sequence[Ending]) -> None:
        """Write the ends of attempts that have ended together, whatever comes of it: the log has the rest."""
        unstorable = []
        results = await self._batcher.do_all(endings)
        completed_too = logs_completed()
        for ending, error in zip(endings, results, strict=True):
            if error:
                if _note(ending, error):
                    unstorable.append(ending)
            else:
                if ending.fails_for_good:
                    self._ended.generation(ending.job.payload)
                if completed_too if ending.error is None else ending.fails_for_good:
                    log_ended(ending.job, seconds=ending.seconds, failed_as=ending.failed_as)
        if unstorable:
            text = "Its result cannot be stored"
            await self.settle(
                [
                    Ending(job=one.job, error=text, error_class="bug", seconds=one.seconds)
                    for one in unstorable
                ]
            )

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
                return await queue.end_all(self._connections, endings)
            except psycopg.Error as error:
                if not is_down(error) or loop.time() > until:
                    raise
            await asyncio.sleep(PAUSE_S)


def _note(ending: Ending, error: Exception) -> bool:
    """Log why an end was not written; whether it is due to its result."""
    job = ending.job
    if isinstance(error, LeaseLost):
        recording.lease_refused("complete")
        error.note(log, job.job_type)
    elif isinstance(error, psycopg.Error) and not isinstance(error, psycopg.DataError):
        # Nothing can be written now: the lease expires by itself, and the attempt is repeated.
        log.warning("job %s: %s, left to its lease", job.id, type(error).__name__)
    else:
        log.error("job %s (%s): bug", job.id, job.job_type, exc_info=error)
        return ending.error is None
    return False
