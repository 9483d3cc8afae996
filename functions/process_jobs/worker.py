"""The worker: claims jobs when woken, runs them side by side, renews their leases, releases them at a stop.

Whether a job may run or end is decided in SQL; this file waits, and calls. The attempts in flight are in ``slots.py``.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg

from functions._shared import jobs
from functions._shared.database.dedicated import Dedicated
from functions._shared.database.periodic import periodically
from functions._shared.database.sqlstates import is_down
from functions._shared.errors import Unavailable
from functions._shared.resources import Resources
from functions._shared.supervisor import end
from functions.process_jobs import queue
from functions.process_jobs.health import Health
from functions.process_jobs.jobs import job_types
from functions.process_jobs.outcomes import Outcomes
from functions.process_jobs.presence import HISTORY_S, keep_presence, keep_queue_history
from functions.process_jobs.quarantine import Quarantine
from functions.process_jobs.slots import Slots

LOOK_AGAIN_S = 0.005
"""The pause after a claim, doubled up to POLL_S: NOTIFY is throttled, so an enqueue beside others sends none."""
SHARED_S = 0.005
"""After a wake-up that led to no job, the wake-ups of so long share the next claim."""
POLL_S, POLL_UNHINTED_S = 1.0, 0.2
"""How often an idle worker polls, for retries that fall due and jobs of dead workers; and while NOTIFY is not heard."""
PARKED_S = 0.1
"""How often a waiting call of process-jobs looks at its parked jobs."""
CLAIM = 500
"""The most jobs of one claim, so that it takes 10 ms, and the next one is under way while these run."""
DRAIN_S = 2.0
"""How long running handlers may go on at a stop. Most end within it; the jobs of the others are released."""


class Worker:
    """One to a process: ``start`` it, ``stop`` it; other parts reach it by ``Resources.worker_inbox``.

    ``hinted``: whether NOTIFY is heard at present. ``run_once`` serves a call of process-jobs.
    """

    def __init__(self, resources: Resources, hinted: Callable[[], bool] = lambda: False) -> None:
        self._settings = resources.settings
        self._supervisor = resources.supervisor
        self._pool = resources.pool
        self._inbox = resources.worker_inbox
        self._hinted = hinted
        # Two connections: claims and ends are carried out side by side, on two of the server's cores.
        self._for_claims = Dedicated(resources.pool)
        self._slots = Slots(resources, Outcomes(Dedicated(resources.pool), resources.ended))
        self._quarantine = Quarantine(resources.pool, self._inbox.worker_id, self._slots)
        self._health = Health(resources.pool)
        self._loops: list[asyncio.Task[None]] = []
        self._most = min(self._settings.worker_concurrency, CLAIM)
        self._claim_size = self._most
        """The most jobs of one claim: halved after a claim that was cut off, doubled after an answered one."""

    @property
    def draining(self) -> bool:
        return self._slots.draining.is_set()

    @property
    def trouble(self) -> str | None:
        """Why the queue cannot be worked on, in words; None when the last claim or renewal was answered."""
        return self._health.trouble

    @property
    def clock_silent_for(self) -> timedelta | None:
        """How long cron has not called process-jobs, once that is too long."""
        return self._health.clock_silent_for

    def cancelled(self, job_id: str) -> None:
        """Stop the attempt at a job that was cancelled, if it runs here."""
        self._slots.disown({UUID(job_id)} if job_id else set(), cancelled=True)

    def start(self) -> None:
        self._loops = [
            self._supervisor.start("claims", self._claim_loop),
            self._supervisor.start("handed-over jobs", self._inbox_loop),
            self._supervisor.start("leases", self._lease_loop),
            self._supervisor.start("presence", self._presence_loop),
        ]

    def drain(self) -> None:
        """Claim nothing more; running attempts go on."""
        self._slots.drain()
        self._inbox.wake()

    async def stop(self) -> None:
        """Drain, and after DRAIN_S release the jobs in flight, uncounted. Leases are renewed until that is done."""
        self.drain()
        claiming, *others = self._loops
        await asyncio.gather(claiming, return_exceptions=True)
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._slots.until_empty()
        except TimeoutError:
            await self._slots.stop()
        await end(others)

    async def run_once(self, limit: int) -> tuple[int, int]:
        """Claim up to ``limit`` jobs and see them to their end: how many, and how many of them with an error.

        Raises Unavailable while sql/ is older than the code, or the database's encoding is not UTF8.
        """
        if self.draining:
            return 0, 0
        if refused := await self._health.refusal():
            raise Unavailable(refused)
        async with self._quarantine.claiming():
            if self.draining:
                return 0, 0
            claimed = await queue.claim(self._pool, limit, self._inbox.worker_id, job_types())
            self._slots.start(claimed)
        await self._slots.until_ended([job.id for job in claimed])
        while len(claimed) < limit and not self.draining:
            suspect = await self._quarantine.run_one()
            if suspect is None:
                break
            claimed.append(suspect)
        return len(claimed), await self._errors_once_ended([job.id for job in claimed])

    async def _errors_once_ended(self, job_ids: list[UUID]) -> int:
        """How many of the jobs ended with an error. Parked jobs are waited for: perhaps another process ends them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.job_timeout_ms / 1000
        processing, errors = len(job_ids), 0
        while processing and loop.time() < until:
            processing, errors = await queue.progress(self._pool, job_ids)
            if processing:
                await asyncio.sleep(PARKED_S)
        return errors

    async def _claim_loop(self) -> None:
        pause_s = LOOK_AGAIN_S
        while not self.draining:
            woken = self._inbox.woken.is_set()
            self._inbox.woken.clear()
            limit = min(self._slots.free, self._claim_size)
            claimed = await self._try_claim(limit) if limit > 0 else 0
            self._slots.wake_when_freed = claimed >= limit
            await asyncio.sleep(0)  # the jobs begin before this task goes on
            alone = await self._try_suspect()
            if claimed == limit > 0 and self._slots.free > 0:
                continue  # more may be due: claimed while these run
            if woken and not claimed:  # paused, or others were faster
                await asyncio.sleep(SHARED_S)
            pause_s = LOOK_AGAIN_S if woken or claimed or alone else pause_s * 2
            most_s = POLL_S if self._hinted() else POLL_UNHINTED_S
            try:
                async with asyncio.timeout(
                    min(pause_s, most_s) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                ):
                    await self._inbox.woken.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(0)  # what has woken us goes on first: a start's answer is written

    async def _try_claim(self, limit: int) -> int:
        """Claim and start jobs; how many."""
        try:
            if await self._health.refusal():
                return 0
            async with self._quarantine.claiming():
                claimed = await queue.claim(
                    self._for_claims, limit, self._inbox.worker_id, job_types()
                )
                self._slots.start(claimed)
        except psycopg.Error as error:
            # Every error of the database, a missing table included: an operator may mend it while the worker polls.
            if is_down(error):
                # Perhaps more payload than the line transfers before the connection counts as dead.
                self._claim_size = max(1, limit // 2)
            await self._health.failed(error)
            return 0
        self._claim_size = min(self._claim_size * 2, self._most)
        self._health.answered()
        return len(claimed)

    async def _try_suspect(self) -> bool:
        """Run a job alone that two workers have died with, if there is one and it is time to look."""
        try:
            may = not self.draining and not await self._health.refusal()
            return may and await self._quarantine.run_due()
        except psycopg.Error as error:
            await self._health.failed(error)
            return False

    async def _inbox_loop(self) -> None:
        """Start jobs that are handed over, at once; release one claimed just before a suspect or a stop closed us."""
        while True:
            job = await self._inbox.handed_over.get()
            if self._slots.closed or self.draining:
                self._slots.release_soon(job)
            else:
                self._slots.start([job])

    async def _presence_loop(self) -> None:
        most = self._settings.worker_concurrency
        async with periodically(self._supervisor, self._pool, keep_queue_history, HISTORY_S):
            await keep_presence(self._pool, self._inbox.worker_id, most, self._slots)

    async def _lease_loop(self) -> None:
        missed: set[UUID] = set()
        while True:
            await asyncio.sleep(jobs.LEASE_S / 3)
            reserved = self._quarantine.reserved
            held = [*self._slots.jobs, *([reserved] if reserved else [])]
            try:
                gone = {job.id for job in held} - await queue.extend(self._pool, held)
                if await queue.requeue_expired(self._pool):
                    self._inbox.wake()
                await self._health.look_at_clock()
            except psycopg.Error as error:
                await self._health.failed(error)
                continue
            # Missing once may be a job that ended during the call; missing twice is a lost lease.
            self._slots.disown(gone & missed)
            missed = gone
