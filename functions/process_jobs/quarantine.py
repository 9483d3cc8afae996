"""A job that two workers have died with runs with nothing beside it, so that only the guilty one is ever failed for it.

Reserved first, so that no other process stops for it too; then this one takes nothing new, its attempts end or are
given back, and only when nothing else is in hand does the database note that it runs alone (sql/25_suspects.sql).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import psycopg_pool

from functions._shared.database.pool import Pool
from functions._shared.errors import LeaseLost, NotFound
from functions._shared.jobs import Job
from functions.process_jobs import queue

if TYPE_CHECKING:
    from functions.process_jobs.worker import Worker

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a worker looks for a suspect, however busy it is."""
FINISH_S = 30.0
"""What the attempts in hand get to end by themselves; most take less. The others' jobs go to other processes."""
STOPPED_S = 5.0
"""What a cancelled attempt may still take; with one that does not heed it, no job can run alone here."""


class Quarantine:
    """One to a worker."""

    def __init__(self, pool: Pool, worker: "Worker") -> None:
        self._pool = pool
        self._worker = worker
        self._one = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._claiming = 0
        self._nobody_claims = asyncio.Event()
        self._nobody_claims.set()
        self._look_at = 0.0
        self._stopped = asyncio.Event()
        self.reserved: Job | None = None
        """Ours, its lease to be kept, and not running yet."""

    @property
    def closed(self) -> bool:
        """A suspect has this process, or is about to: nothing may be begun beside it."""
        return not self._open.is_set()

    def stop(self) -> None:
        """The worker drains: wait for nothing any more."""
        self._stopped.set()

    @asynccontextmanager
    async def claiming(self) -> AsyncIterator[None]:
        """Around a claim and the start of what it brought; waits until no suspect has this process."""
        while self.closed:
            await self._open.wait()
        self._claiming += 1
        self._nobody_claims.clear()
        try:
            yield
        finally:
            self._claiming -= 1
            if not self._claiming:
                self._nobody_claims.set()

    async def run_due(self) -> bool:
        """Look for a suspect, where it is time to, and run it alone; whether there was one.

        It takes half of the time at most: a worker that has just run one goes on with others for as long.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._look_at:
            return False
        self._look_at = loop.time() + LOOK_S
        began = loop.time()
        found = await self.run_one() is not None
        self._look_at = max(self._look_at, 2 * loop.time() - began)
        return found

    async def run_one(self) -> Job | None:
        """Run a suspect alone, if there is one, until its attempt has ended or the worker stops; which it was.

        Raises what the database raises while there is none yet.
        """
        async with self._one:
            job = await queue.claim_suspect(self._pool, self._worker.id)
            if job is None:
                return None
            log.warning("job %s: two of its workers died: it runs alone", job.id)
            self.reserved = job
            self._open.clear()
            try:
                await self._run(job)
            finally:
                self.reserved = None
                self._open.set()
            return job

    async def _run(self, job: Job) -> None:
        if not await self._alone():
            await self._worker.give_back(job)
            return
        try:
            await queue.begin_alone(self._pool, job)
        except (LeaseLost, NotFound, psycopg.Error, psycopg_pool.PoolTimeout) as error:
            log.warning("job %s: not begun (%s)", job.id, type(error).__name__)
            return
        running = self._worker.run(job)
        self.reserved = None
        await self._until_stopped([running], None)

    async def _alone(self) -> bool:
        """See the attempts in hand to their end, or give their jobs back; False where that cannot be, or at a stop."""
        await self._nobody_claims.wait()  # one may be under way
        await self._until_stopped(self._worker.in_hand(), FINISH_S)
        if self._worker.draining:
            return False
        left = list(self._worker.in_hand())
        for task in left:
            task.cancel()
        await self._until_stopped(left, STOPPED_S)
        return not (self._worker.draining or list(self._worker.in_hand()))

    async def _until_stopped(
        self, tasks: Iterable[asyncio.Task[bool]], timeout_s: float | None
    ) -> None:
        """Until all ``tasks`` are done, the time is up, or the worker stops."""
        waiting = set(tasks)
        if not waiting:
            return
        stopped = asyncio.create_task(self._stopped.wait())
        ended = asyncio.create_task(asyncio.wait(waiting))
        try:
            await asyncio.wait(
                {stopped, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopped.cancel()
            ended.cancel()
