"""Slots: the attempts in flight in this process, as many as WORKER_CONCURRENCY, and whether more may begin.

Shared by the worker, which fills the slots, and its quarantine, which empties them for a job that runs alone.
"""

import asyncio
import logging
from collections.abc import Iterable
from uuid import UUID

import psycopg

from functions._shared.errors import LeaseLost, NotFound
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions.process_jobs import queue
from functions.process_jobs.attempt import run_handler
from functions.process_jobs.outcomes import Outcomes

log = logging.getLogger(__name__)


class Slots:
    """Starts attempts, stops them, and keeps the inbox's count of free slots up to date."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._inbox = resources.worker_inbox
        self._outcomes = Outcomes(resources.pool)
        self._running: dict[asyncio.Task[bool], Job] = {}
        self._disowned: set[asyncio.Task[bool]] = set()
        """Attempts whose lease is lost (job cancelled, or claimed again): cancelling them must not release the job."""
        self._releases: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._opened.set()
        self.draining = asyncio.Event()
        """Set once, at a stop: nothing more is claimed or begun."""
        self.wake_when_freed = False
        """Set while more jobs may be due than slots were free: then a freed slot is a reason to claim."""
        self._publish()

    @property
    def free(self) -> int:
        """Slots for attempts; negative where process-jobs was called beside a full worker."""
        return self._resources.settings.worker_concurrency - len(self._running)

    @property
    def tasks(self) -> list[asyncio.Task[bool]]:
        return list(self._running)

    @property
    def jobs(self) -> list[Job]:
        return list(self._running.values())

    @property
    def closed(self) -> bool:
        """A suspect runs alone in this process, or is about to: nothing may begin beside it."""
        return not self._opened.is_set()

    def close(self) -> None:
        self._opened.clear()
        self._publish()

    def open(self) -> None:
        self._opened.set()
        self._publish()

    async def wait_open(self) -> None:
        while self.closed:  # it may be closed again before this task runs
            await self._opened.wait()

    def drain(self) -> None:
        self.draining.set()
        self._publish()

    def start(self, jobs: Iterable[Job]) -> list[asyncio.Task[bool]]:
        """Begin an attempt for each job; a task's result is whether its attempt went well."""
        jobs = list(jobs)
        self.disown({job.id for job in jobs})
        tasks = []
        for job in jobs:
            task = asyncio.create_task(self._run(job))
            self._running[task] = job
            task.add_done_callback(self._done)
            tasks.append(task)
        self._publish()
        return tasks

    def disown(self, job_ids: set[UUID], *, cancelled: bool = False) -> None:
        """Stop our own attempts at jobs whose lease is lost: a job that can be claimed again is no longer ours."""
        for task, job in self._running.items():
            if job.id in job_ids and task not in self._disowned:
                lost = "cancelled" if cancelled else "no longer ours"
                level = logging.INFO if cancelled else logging.WARNING
                log.log(level, "job %s: %s, attempt stopped", job.id, lost)
                self._disowned.add(task)
                task.cancel()

    async def release(self, job: Job) -> None:
        """Put a job that has not ended back into the queue; its attempt does not count."""
        try:
            await queue.release(self._resources.pool, job)
        except (LeaseLost, NotFound, psycopg.Error) as error:
            log.warning("job %s: not given back (%s)", job.id, type(error).__name__)

    def release_soon(self, job: Job) -> None:
        """``release`` without waiting for it; ``stop`` does."""
        task = asyncio.create_task(self.release(job))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def stop(self) -> None:
        """Cancel the attempts in flight, which releases their jobs; also those that are begun meanwhile."""
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*self._releases)

    def _publish(self) -> None:
        blocked = self.closed or self.draining.is_set()
        self._inbox.free_slots = 0 if blocked else max(0, self.free)

    def _done(self, task: asyncio.Task[bool]) -> None:
        del self._running[task]
        self._disowned.discard(task)
        self._publish()
        if self.wake_when_freed:
            self._inbox.wake()

    async def _run(self, job: Job) -> bool:
        """One attempt, from its handler to its end in the database; whether it went well."""
        ending = None
        try:
            ending = await run_handler(job, self._resources)
            if ending:
                ending = await self._outcomes.end_or_bug(ending)
                if ending.fails_for_good:
                    # Its class, not its text: that may quote a prompt. job_queue.errors has both.
                    log.warning(
                        "job %s (%s): failed for good: %s, attempt %d of %d",
                        job.id,
                        job.job_type,
                        ending.error_class or "permanent",
                        job.attempt_number,
                        job.max_attempts,
                    )
        except asyncio.CancelledError:
            if ending is None and asyncio.current_task() not in self._disowned:
                await self.release(job)
            raise
        except LeaseLost as lost:
            lost.note(log, job.job_type)
            return False
        except psycopg.Error as error:
            # Nothing can be written now: the lease expires by itself, and the attempt is repeated.
            log.warning("job %s: %s, left to its lease", job.id, type(error).__name__)
            return False
        return ending is None or ending.error is None
