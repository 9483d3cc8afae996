"""Quarantine of a suspect (poison message): a job that two workers have died with runs with nothing beside it.

So only the guilty job is ever failed for a crash, never a neighbour. The suspect is reserved first, so that no other
process stops for it too. Then this process begins nothing new, and its attempts end or are released. Only when
nothing else is in flight does the database note that the suspect runs alone (sql/25_suspects.sql).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from functions._shared.database.pool import Pool
from functions._shared.errors import LeaseLost, NotFound
from functions._shared.jobs import Job
from functions.process_jobs import queue
from functions.process_jobs.jobs import job_types
from functions.process_jobs.slots import Slots

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a worker looks for a suspect, however busy it is."""
FINISH_S = 30.0
"""How long the attempts in flight may take to end by themselves; most take less. Other jobs are then released."""
STOPPED_S = 5.0
"""How long a cancelled attempt may take to stop. Where one ignores its cancellation, no job can run alone here."""


class Quarantine:
    """One to a worker."""

    def __init__(self, pool: Pool, worker_id: str, slots: Slots) -> None:
        self._pool = pool
        self._worker_id = worker_id
        self._slots = slots
        self._one_at_a_time = asyncio.Lock()
        self._claims = 0
        self._no_claim_under_way = asyncio.Event()
        self._no_claim_under_way.set()
        self._look_at = 0.0
        self.reserved: Job | None = None
        """The suspect that is ours and not running yet: its lease has to be renewed too."""

    @asynccontextmanager
    async def claiming(self) -> AsyncIterator[None]:
        """Around a claim and the start of the jobs it returned; waits until no suspect occupies this process."""
        await self._slots.wait_open()
        self._claims += 1
        self._no_claim_under_way.clear()
        try:
            yield
        finally:
            self._claims -= 1
            if not self._claims:
                self._no_claim_under_way.set()

    async def run_due(self) -> bool:
        """Look for a suspect, if LOOK_S have passed, and run it alone; whether there was one.

        Suspects take half of the time at most: afterwards the other jobs have this process for as long.
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
        """Run a suspect alone, if there is one, until its attempt has ended or the worker stops; returns that job.

        Raises what the database raises while no suspect is claimed yet.
        """
        async with self._one_at_a_time:
            job = await queue.claim_suspect(self._pool, self._worker_id, job_types())
            if job is None:
                return None
            log.warning("job %s: two of its workers died: it runs alone", job.id)
            self.reserved = job
            self._slots.close()
            try:
                await self._run(job)
            finally:
                self.reserved = None
                self._slots.open()
            return job

    async def _run(self, job: Job) -> None:
        if not await self._alone():
            await self._slots.release(job)
            return
        try:
            await queue.begin_alone(self._pool, job)
        except (LeaseLost, NotFound, psycopg.Error) as error:
            log.warning("job %s: not begun (%s)", job.id, type(error).__name__)
            return
        self._slots.start([job])
        self.reserved = None
        await self._until_empty(None)

    async def _alone(self) -> bool:
        """Wait for the attempts in flight, then release their jobs; False where one is left, or at a stop."""
        await self._no_claim_under_way.wait()
        await self._until_empty(FINISH_S)
        if self._slots.draining.is_set():
            return False
        self._slots.interrupt()
        await self._until_empty(STOPPED_S)
        return self._slots.empty and not self._slots.draining.is_set()

    async def _until_empty(self, timeout_s: float | None) -> None:
        """Until no attempt is in flight, the time is up, or the worker drains."""
        draining = asyncio.create_task(self._slots.draining.wait())
        empty = asyncio.create_task(self._slots.until_empty())
        try:
            await asyncio.wait(
                {draining, empty}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            draining.cancel()
            empty.cancel()
