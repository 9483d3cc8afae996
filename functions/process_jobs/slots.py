"""Slots: the jobs in hand in this process, as many as WORKER_CONCURRENCY, and whether more may begin.

Shared by the worker, which fills the slots, and its quarantine, which empties them for a job that runs alone.

Jobs wait in a line for a runner: a task that begins one after another, as long as none of their handlers suspends.
With the first that does, the line becomes the next runner's. So handlers that never wait share one task and one write
of their ends, and one that waits has a task of its own, which can be cancelled and holds up nobody.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextvars import copy_context
from typing import Any
from uuid import UUID

import psycopg

from functions._shared import tracing
from functions._shared.errors import LeaseLost, NotFound
from functions._shared.jobs import Job
from functions._shared.metrics import recording
from functions._shared.resources import Resources
from functions.process_jobs import queue
from functions.process_jobs.attempt import run_handler
from functions.process_jobs.jobs import PARKED
from functions.process_jobs.outcomes import Outcomes
from functions.process_jobs.queue import Ending

log = logging.getLogger(__name__)

SLICE_S = 0.005
"""How long a runner may keep the event loop from everybody else. Then the next one goes on with the line."""

INTERRUPT_AGAIN_S = 3.0
"""Pause before attempts that have not ended at a stop are interrupted again: time to write what has begun."""


class Slots:
    """Starts attempts, stops them, and keeps the inbox's count of free slots up to date."""

    def __init__(self, resources: Resources, outcomes: Outcomes) -> None:
        self._resources = resources
        self._inbox = resources.worker_inbox
        self._outcomes = outcomes
        self._context = copy_context()
        """Of all tasks: a runner begun in a request (process-jobs) runs jobs that are not of that request, too."""
        self._held: dict[UUID, Job] = {}
        """The jobs in hand, from their claim until their end is written."""
        self._line: deque[Job] = deque()
        """Of those, the ones that have not begun."""
        self._runner_due = False
        """Whether a runner has been made for the line, and has not begun yet."""
        self._tasks: dict[asyncio.Task[None], Job | None] = {}
        """Runners, each with the job whose handler has suspended it; also writes and releases, which have none."""
        self._disowned: set[asyncio.Task[None]] = set()
        """Attempts whose lease is lost (job cancelled, or claimed again): cancelling them must not release the job."""
        self._opened = asyncio.Event()
        self._opened.set()
        self._left = asyncio.Event()
        """Set whenever a job leaves; cleared by those that wait for it."""
        self.draining = asyncio.Event()
        """Set once, at a stop: nothing more is claimed or begun."""
        self.wake_when_freed = False
        """Set while more jobs may be due than slots were free: then a freed slot is a reason to claim."""
        self._publish()

    @property
    def free(self) -> int:
        """Slots for attempts; negative where process-jobs was called beside a full worker."""
        return self._resources.settings.worker_concurrency - len(self._held)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of suspended attempts, one to each."""
        return [task for task, job in self._tasks.items() if job]

    @property
    def jobs(self) -> list[Job]:
        return list(self._held.values())

    @property
    def empty(self) -> bool:
        """Whether no attempt is in flight, and nothing about one is still to be written."""
        return not self._tasks

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

    def start(self, jobs: Sequence[Job]) -> None:
        """Begin an attempt for each job."""
        self.disown({job.id for job in jobs})
        self._held.update((job.id, job) for job in jobs)
        self._line.extend(jobs)
        self._run_soon()
        self._publish()

    def disown(self, job_ids: Collection[UUID], *, cancelled: bool = False) -> None:
        """Stop our own attempts at jobs whose lease is lost: a job that can be claimed again is no longer ours."""
        job_ids = self._held.keys() & job_ids
        if not job_ids:
            return
        lost = "cancelled" if cancelled else "no longer ours"
        level = logging.INFO if cancelled else logging.WARNING
        unbegun = [job for job in self._line if job.id in job_ids]
        if unbegun:
            log.log(level, "%d jobs: %s before they began", len(unbegun), lost)
            self._line = deque(job for job in self._line if job.id not in job_ids)
            self._leave(unbegun)
        for task, job in self._tasks.items():
            if job and job.id in job_ids and task not in self._disowned:
                log.log(level, "job %s: %s, attempt stopped", job.id, lost)
                self._disowned.add(task)
                task.cancel()

    async def until_ended(self, job_ids: Collection[UUID]) -> None:
        """Until none of these jobs is in hand."""
        while not self._held.keys().isdisjoint(job_ids):
            self._left.clear()
            await self._left.wait()

    async def until_empty(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def release(self, job: Job) -> None:
        """Put a job that has not ended back into the queue; its attempt does not count."""
        try:
            await queue.release(self._resources.pool, job)
        except (LeaseLost, NotFound, psycopg.Error) as error:
            log.warning("job %s: not given back (%s)", job.id, type(error).__name__)

    def release_soon(self, job: Job) -> None:
        """``release`` without waiting for it; ``stop`` does."""
        self._begin(self.release(job))

    def interrupt(self) -> None:
        """Cancel the attempts that have begun, which releases their jobs, and release the others."""
        for job in self._line:
            self.release_soon(job)
        self._leave(self._line)
        self._line.clear()
        for task in self.tasks:
            task.cancel()

    async def stop(self) -> None:
        """Interrupt the attempts in flight; those begun meanwhile, and those that lost it (``supervisor.end``)."""
        while not self.empty:
            self.interrupt()
            await asyncio.wait(self._tasks, timeout=INTERRUPT_AGAIN_S)

    def _publish(self) -> None:
        blocked = self.closed or self.draining.is_set()
        self._inbox.free_slots = 0 if blocked else max(0, self.free)

    def _leave(self, jobs: Collection[Job]) -> None:
        for job in jobs:
            if self._held.get(job.id) is job:  # not where it was claimed again meanwhile
                del self._held[job.id]
        self._left.set()
        self._publish()
        if self.wake_when_freed:
            self._inbox.wake()

    def _begin(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(step, context=self._context)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._disowned.discard(task)

    def _run_soon(self) -> None:
        """Have a runner begin what is in the line."""
        if self._line and not self._runner_due:
            self._runner_due = True
            self._begin(self._run())

    async def _run(self) -> None:
        """A runner: begin jobs of the line until one suspends or the time is up, then write how they ended."""
        self._runner_due = False
        runner = asyncio.current_task()
        assert runner, "it runs as a task"
        until = time.monotonic() + SLICE_S
        ended: list[Ending] = []

        def suspended() -> None:
            self._tasks[runner] = job
            if ended:
                self._begin(self._write(ended.copy()))
                ended.clear()
            self._run_soon()

        try:
            while self._line and time.monotonic() < until and not self._tasks[runner]:
                job = self._line.popleft()
                ending = await self._attempt(job, suspended)
                if ending:
                    ended.append(ending)
        except BaseException:
            # No Exception, as a panic of a library in Rust is none: it ends this task, and not its neighbours' ends.
            if ended:
                self._begin(self._write(ended))
            raise
        finally:
            self._run_soon()
        if ended:
            await self._write(ended)

    async def _write(self, ended: Sequence[Ending]) -> None:
        try:
            await self._outcomes.settle(ended)
        finally:
            self._leave([ending.job for ending in ended])

    async def _attempt(self, job: Job, suspended: Callable[[], None]) -> Ending | None:
        """One attempt; None where nothing is left to write about it: its job has left then."""
        ending, outcome, began = None, "interrupted", recording.now()
        try:
            with tracing.attempt(job.id, job.job_type, job.attempt_number, job.payload):
                ending = await run_handler(job, self._resources, suspended)
                if ending and ending.recorded_class:
                    tracing.attempt_failed(ending.recorded_class)
            outcome = _outcome_of(job, ending)
        except asyncio.CancelledError:
            if asyncio.current_task() not in self._disowned:
                self.release_soon(job)
            if asyncio.current_task() in self.tasks:
                raise
            # Raised by a handler that nobody has cancelled: the runner goes on with the line.
        except LeaseLost as lost:
            lost.note(log, job.job_type)
        except psycopg.Error as error:
            # Nothing can be written now: the lease expires by itself, and the attempt is repeated.
            log.warning("job %s: %s, left to its lease", job.id, type(error).__name__)
        finally:
            error_class = ending and ending.recorded_class
            recording.attempt_ended(
                job.id, job.job_type, job.attempt_number, began, outcome, error_class
            )
            if ending is None:
                self._leave([job])
        return ending


def _outcome_of(job: Job, ending: Ending | None) -> str:
    """For /metrics; a job that its handler has parked is completed, or not, when its prediction ends."""
    if ending is None:
        return "parked" if job.job_type in PARKED else "completed"
    if ending.error is None:
        return "completed"
    return "failed" if ending.fails_for_good else "retried"
