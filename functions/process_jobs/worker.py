"""The worker: claims jobs when woken, runs them side by side, keeps their leases, gives them back when it stops.

Whether a job may be run or ended is decided in SQL; this file only waits, and calls.
"""

import asyncio
import logging
import os
import random
import socket
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from uuid import UUID

import psycopg
import psycopg_pool

from functions._shared.database.sqlstates import is_down
from functions._shared.errors import LeaseLost, NotFound
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions.process_jobs import queue
from functions.process_jobs.attempt import attempt
from functions.process_jobs.outcomes import Outcomes
from functions.process_jobs.quarantine import Quarantine
from functions.process_jobs.queue import Ending

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.005
"""After a claim: whoever enqueues beside others gives no hint. Doubled until it is one of the next two."""
POLL_S, POLL_UNHINTED_S = 1.0, 0.2
"""How often an idle worker looks: for retries that fall due and jobs of dead workers; and where no hints come."""
PARKED_S = 0.1
"""How often a call that waits for its jobs looks after those that are parked."""
DRAIN_S = 2.0
"""What running handlers get at a stop. Most take less; the others' jobs are given back."""


class Worker:
    """One to a process. ``start`` and ``stop`` it; ``wake`` it after an enqueue; ``run_once`` is process-jobs.

    ``hinted`` tells whether enqueues are heard of at present.
    """

    def __init__(self, resources: Resources, hinted: Callable[[], bool] = lambda: False) -> None:
        self._resources = resources
        self._settings = resources.settings
        self._hinted = hinted
        # New at each start: a host's name comes back after a crash, and would claim its own ghosts.
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._running: dict[asyncio.Task[bool], Job] = {}
        self._lost: set[asyncio.Task[bool]] = set()
        """Those whose job is somebody else's by now, or cancelled: there is nothing to give back."""
        self._outcomes = Outcomes(resources.pool)
        self._quarantine = Quarantine(resources.pool, self)
        self._returns: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._more = False
        """Whether the last claim took all it could: then a free slot is a reason to look."""
        self._most = self._settings.worker_concurrency
        """How many one claim asks for: half as many after one that was cut, twice as many after an answer."""
        self.draining = False
        self.queue_up = True
        """Whether the last claim or renewal was answered."""
        self.clock_silent_for: timedelta | None = None
        """How long cron has not called, once that is too long."""

    def wake(self) -> None:
        self._woken.set()

    @property
    def lease_s(self) -> float:
        return queue.LEASE_S

    def with_room(self) -> str | None:
        closed = self.draining or self._quarantine.closed
        return self.id if self._free > 0 and not closed else None

    def take(self, job: Job) -> None:
        if not self._quarantine.closed:
            self._start([job])
            return
        # It was claimed while a suspect was: somebody else may have it at once.
        task = asyncio.create_task(self.give_back(job))
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    def in_hand(self) -> list[asyncio.Task[bool]]:
        return list(self._running)

    def run(self, job: Job) -> asyncio.Task[bool]:
        return self._start([job])[0]

    def cancelled(self, job_id: str) -> None:
        """Somebody cancelled a job that may be ours."""
        self._stop_attempts_at({UUID(job_id)} if job_id else set())

    def start(self) -> None:
        self._loops = [
            asyncio.create_task(self._claim_loop()),
            asyncio.create_task(self._lease_loop()),
        ]

    def drain(self) -> None:
        """Claim nothing more; what runs goes on."""
        self.draining = True
        self._quarantine.stop()
        self.wake()

    async def stop(self) -> None:
        """Drain, and after DRAIN_S give the jobs in flight back, uncounted. Renewal goes on until they are."""
        self.drain()
        claiming, renewing = self._loops
        await asyncio.gather(claiming, return_exceptions=True)
        if self._running:
            await asyncio.wait(list(self._running), timeout=DRAIN_S)
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)

    async def run_once(self, limit: int) -> tuple[int, int]:
        """Claim up to ``limit`` jobs and see them to their end: how many, and how many of them with an error."""
        if self.draining:
            return 0, 0
        async with self._quarantine.claiming():
            if self.draining:
                return 0, 0
            jobs = await queue.claim(self._resources.pool, limit, self.id)
            attempts = self._start(jobs)
        await asyncio.gather(*attempts, return_exceptions=True)
        while len(jobs) < limit and not self.draining:
            suspect = await self._quarantine.run_one()
            if suspect is None:
                break
            jobs.append(suspect)
        # The parked ones are ended by whoever learns of their prediction's end, perhaps in another process.
        processing, unwell = len(jobs), 0
        until = asyncio.get_running_loop().time() + self._settings.job_timeout_ms / 1000
        while processing and asyncio.get_running_loop().time() < until:
            processing, unwell = await queue.progress(
                self._resources.pool, [job.id for job in jobs]
            )
            if processing:
                await asyncio.sleep(PARKED_S)
        return len(jobs), unwell

    @property
    def _free(self) -> int:
        return self._settings.worker_concurrency - len(self._running)

    async def _claim_loop(self) -> None:
        pause_s = LOOK_AGAIN_S
        while not self.draining:
            woken = self._woken.is_set()
            self._woken.clear()
            asked = min(self._free, self._most)
            claimed = await self._try_claim(asked) if asked > 0 else 0
            self._more = claimed == asked
            alone = await self._try_suspect()
            pause_s = LOOK_AGAIN_S if woken or claimed or alone else pause_s * 2
            most_s = POLL_S if self._hinted() else POLL_UNHINTED_S
            try:
                async with asyncio.timeout(
                    min(pause_s, most_s) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                ):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _try_claim(self, limit: int) -> int:
        """Claim and start jobs; how many."""
        try:
            async with self._quarantine.claiming():
                jobs = await queue.claim(self._resources.pool, limit, self.id)
                self._start(jobs)
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            # Any error of the database, a missing table too: whatever it is, it may be mended while we look on.
            self._note_queue(up=False, detail=type(error).__name__)
            if is_down(error):
                self._most = max(
                    1, limit // 2
                )  # perhaps more than comes through the line before it counts as dead
            return 0
        self._note_queue(up=True)
        self._most = min(self._most * 2, self._settings.worker_concurrency)
        return len(jobs)

    async def _try_suspect(self) -> bool:
        """Run a job alone that two workers have died with, if there is one and it is time to look."""
        try:
            return not self.draining and await self._quarantine.run_due()
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            self._note_queue(up=False, detail=type(error).__name__)
            return False

    def _start(self, jobs: Iterable[Job]) -> list[asyncio.Task[bool]]:
        jobs = list(jobs)
        self._stop_attempts_at({job.id for job in jobs})
        tasks = []
        for job in jobs:
            task = asyncio.create_task(self._run(job))
            self._running[task] = job
            task.add_done_callback(self._done)
            tasks.append(task)
        return tasks

    def _stop_attempts_at(self, job_ids: set[UUID]) -> None:
        """End older attempts of our own: a job that could be claimed again has lost its lease."""
        for task, job in self._running.items():
            if job.id in job_ids and task not in self._lost:
                log.warning("job %s: no longer ours, attempt stopped", job.id)
                self._lost.add(task)
                task.cancel()

    def _done(self, task: asyncio.Task[bool]) -> None:
        del self._running[task]
        self._lost.discard(task)
        if self._more:
            self.wake()

    async def _run(self, job: Job) -> bool:
        """One attempt, from its handler to its end in the database; whether it went well."""
        ending = None
        try:
            ending = await attempt(job, self._resources)
            if ending:
                ending = await self._end(ending)
        except asyncio.CancelledError:
            if ending is None and asyncio.current_task() not in self._lost:
                await self.give_back(job)
            raise
        except LeaseLost as lost:
            log.warning("job %s: %s", job.id, lost)
            return False
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            # Nothing can be written now. The lease ends by itself, and the attempt is repeated.
            log.warning("job %s: %s, left to its lease", job.id, type(error).__name__)
            return False
        return ending is None or ending.error is None

    async def _end(self, ending: Ending) -> Ending:
        """Write it; what cannot be written is written as an error of ours, so that the job ends all the same."""
        try:
            await self._outcomes.end(ending)
        except (psycopg.DataError, TypeError, ValueError):
            log.exception("job %s (%s): bug", ending.job.id, ending.job.job_type)
            ending = Ending(job=ending.job, error="Its result cannot be stored", error_class="bug")
            await self._outcomes.end(ending)
        return ending

    async def give_back(self, job: Job) -> None:
        """Hand a job back that has not ended; its attempt does not count."""
        try:
            await queue.release(self._resources.pool, job)
        except (LeaseLost, NotFound, psycopg.Error, psycopg_pool.PoolTimeout) as error:
            log.warning("job %s: not given back (%s)", job.id, type(error).__name__)

    async def _lease_loop(self) -> None:
        missed: set[UUID] = set()
        while True:
            await asyncio.sleep(queue.LEASE_S / 3)
            reserved = self._quarantine.reserved
            jobs = [*self._running.values(), *([reserved] if reserved else [])]
            try:
                gone = {job.id for job in jobs} - await queue.extend(self._resources.pool, jobs)
                if await queue.requeue_expired(self._resources.pool):
                    self.wake()
                self._note_clock(await queue.tick_overdue(self._resources.pool))
            except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
                self._note_queue(up=False, detail=type(error).__name__)
                continue
            # Missing once may be a job that ended during the call; missing twice is somebody else's.
            self._stop_attempts_at(gone & missed)
            missed = gone

    def _note_clock(self, silence: timedelta | None) -> None:
        if silence and not self.clock_silent_for:
            log.warning("cron has not called process-jobs for %d s", silence.total_seconds())
        elif self.clock_silent_for and not silence:
            log.info("cron calls process-jobs again")
        self.clock_silent_for = silence

    def _note_queue(self, *, up: bool, detail: str = "") -> None:
        if up != self.queue_up:
            log.log(
                *(
                    (logging.INFO, "the queue answers again")
                    if up
                    else (logging.WARNING, f"the queue does not answer: {detail}")
                )
            )
        self.queue_up = up
