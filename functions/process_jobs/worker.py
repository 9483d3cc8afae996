"""The worker: claims jobs when woken, runs them side by side, keeps their leases, gives them back when it stops.

Whether a job may be run or ended is decided in SQL; this file only waits, and calls.
"""

import asyncio
import logging
import os
import random
import socket
import uuid
from datetime import timedelta
from uuid import UUID

import psycopg
import psycopg_pool

from functions._shared.database import DATABASE_DOWN
from functions._shared.errors import FunctionError, GenerationFailed, InvalidRequest, LeaseLost
from functions._shared.resources import Resources
from functions.process_jobs import queue
from functions.process_jobs.jobs import JOBS
from functions.process_jobs.queue import Job

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often an idle worker looks without being woken: for retries that fall due, jobs of dead workers, plain SQL."""

PARKED_S = 0.1
"""How often a call that waits for its jobs looks after those that are parked."""


class Worker:
    """One to a process. ``start`` and ``stop`` it; ``wake`` it after an enqueue; ``run_once`` is process-jobs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._settings = resources.settings
        # New at each start: a host's name comes back after a crash, and would claim its own ghosts.
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._running: dict[asyncio.Task[bool], Job] = {}
        self._woken = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._queue_up = True
        self._clock_ticks = True

    def wake(self) -> None:
        """Look for jobs now; costs nothing when there are none."""
        self._woken.set()

    def start(self) -> None:
        self._loops = [
            asyncio.create_task(self._claim_loop()),
            asyncio.create_task(self._lease_loop()),
        ]

    async def stop(self) -> None:
        """Claim nothing more and give the jobs in flight back, uncounted. Renewal goes on until they are."""
        claiming, renewing = self._loops
        await _end(claiming)
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _end(renewing)

    async def run_once(self, limit: int) -> tuple[int, int]:
        """Claim up to ``limit`` jobs and see them to their end: how many, and how many of them with an error."""
        tasks = await self._claim(limit)
        jobs = [self._running[task].id for task in tasks]
        await asyncio.gather(*tasks, return_exceptions=True)
        # The parked ones are ended by whoever learns of their prediction's end, perhaps in another process.
        processing, unwell = len(jobs), 0
        until = asyncio.get_running_loop().time() + self._settings.job_timeout_ms / 1000
        while processing and asyncio.get_running_loop().time() < until:
            processing, unwell = await queue.progress(self._resources.pool, jobs)
            if processing:
                await asyncio.sleep(PARKED_S)
        return len(jobs), unwell

    async def _claim_loop(self) -> None:
        while True:
            self._woken.clear()
            free = self._settings.worker_concurrency - len(self._running)
            if free > 0 and len(await self._try_claim(free)) == free:
                continue  # there may be more
            try:
                async with asyncio.timeout(POLL_S * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _try_claim(self, limit: int) -> list[asyncio.Task[bool]]:
        try:
            tasks = await self._claim(limit)
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            # Any error of the database, a missing table too: whatever it is, it may be mended while we look on.
            self._note_queue(up=False, detail=type(error).__name__)
            return []
        self._note_queue(up=True)
        return tasks

    async def _claim(self, limit: int) -> list[asyncio.Task[bool]]:
        jobs = await queue.claim(self._resources.pool, limit, self.id)
        self._stop_attempts_at({job.id for job in jobs})
        tasks = []
        for job in jobs:
            task = asyncio.create_task(self._run(job), name=f"{job.job_type} {job.id}")
            self._running[task] = job
            task.add_done_callback(self._done)
            tasks.append(task)
        return tasks

    def _stop_attempts_at(self, job_ids: set[UUID]) -> None:
        """End older attempts of our own: a job that could be claimed again has lost its lease."""
        for task, job in self._running.items():
            if job.id in job_ids:
                log.warning("job %s: lease lost, attempt stopped", job.id)
                task.cancel()

    def _done(self, task: asyncio.Task[bool]) -> None:
        del self._running[task]
        self.wake()  # a slot is free

    async def _run(self, job: Job) -> bool:
        """One attempt, from its handler to its end in the database; whether it went well."""
        try:
            outcome = await self._attempt(job)
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        except LeaseLost as lost:
            log.warning("job %s: %s", job.id, lost)
            return False
        except DATABASE_DOWN:
            # Nothing can be written now. The lease ends by itself, and the attempt is repeated.
            log.warning("job %s: the database went away, left to its lease", job.id)
            return False
        return outcome

    async def _attempt(self, job: Job) -> bool:
        pool = self._resources.pool
        handler = JOBS.get(job.job_type)
        if handler is None:
            await queue.fail(
                pool,
                job,
                f"No handler for job type {job.job_type}",
                retry=True,
                error_class="unknown_type",
            )
            return False
        try:
            # process-generation ends itself in time, and cancels its prediction; this bound is for all else.
            async with asyncio.timeout(self._settings.job_timeout_ms / 1000 + 10):
                result = await handler(job, self._resources)
        except GenerationFailed as error:
            await queue.fail(
                pool,
                job,
                str(error),
                retry=error.retry,
                # Not all at once, when what they waited for comes.
                retry_after_s=error.retry_after_s and error.retry_after_s + random.random(),  # noqa: S311
                error_class=error.error_class,
            )
        except FunctionError as error:
            await queue.fail(pool, job, str(error), retry=False, error_class=_class_of(error))
        except TimeoutError:
            text = f"Job timed out after {self._settings.job_timeout_ms} ms"
            await queue.fail(pool, job, text, retry=True, error_class="timeout")
        except (LeaseLost, *DATABASE_DOWN):
            raise
        except Exception:
            log.exception("job %s (%s): bug", job.id, job.job_type)
            await queue.fail(pool, job, "Internal error", retry=True, error_class="bug")
        else:
            if result is not None:
                await queue.complete(pool, job, result)
            return True
        return False

    async def _give_back(self, job: Job) -> None:
        try:
            await queue.release(self._resources.pool, job)
        except (LeaseLost, psycopg.Error, psycopg_pool.PoolTimeout) as error:
            log.warning("job %s: not given back (%s)", job.id, type(error).__name__)

    async def _lease_loop(self) -> None:
        missed: set[UUID] = set()
        while True:
            await asyncio.sleep(queue.LEASE_S / 3)
            jobs = list(self._running.values())
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
        if silence and self._clock_ticks:
            log.warning("cron has not called process-jobs for %d s", silence.total_seconds())
        elif not silence and not self._clock_ticks:
            log.info("cron calls process-jobs again")
        self._clock_ticks = not silence

    def _note_queue(self, *, up: bool, detail: str = "") -> None:
        if up != self._queue_up:
            log.log(
                *(
                    (logging.INFO, "the queue answers again")
                    if up
                    else (logging.WARNING, f"the queue does not answer: {detail}")
                )
            )
        self._queue_up = up


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _class_of(error: FunctionError) -> str | None:
    return "bad_input" if isinstance(error, InvalidRequest) else None
