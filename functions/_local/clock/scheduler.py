"""pg_cron's scheduler: fires due jobs, never two runs of a job at once; records every run."""

import asyncio
import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.rows import DictRow

from functions._local.clock.login import log_in
from functions._shared.cron import Schedule, read_schedule, time_zone

log = logging.getLogger(__name__)

MAX_RUNNING = 32

ACTIVE_JOBS = """
select job.*, clock_state.fired_at, clock_timestamp() as now, current_setting('cron.timezone', true) as zone
from cron.job left join cron.clock_state using (jobid) where job.active
"""
REGISTER = """
insert into cron.clock_state (jobid, fired_at)
select jobid, clock_timestamp() from cron.job where active on conflict do nothing
"""
# The server's clock was set back: without this no job would run until it has caught up. Up to a minute is waited for:
# a time that was fired before a small correction must not be fired again.
CATCH_UP = """
update cron.clock_state set fired_at = clock_timestamp() where fired_at > clock_timestamp() + interval '1 minute'
returning jobid
"""
# Compare-and-set: of two clocks that see the same due time, one updates the row and fires.
FIRE = "update cron.clock_state set fired_at = %s where jobid = %s and fired_at < %s returning 1"
INSERT_RUN = """
insert into cron.job_run_details (jobid, database, username, command, status)
values (%(jobid)s, %(database)s, %(username)s, %(command)s, 'starting') returning runid
"""
MARK_RUNNING = """
update cron.job_run_details set status = 'running', job_pid = %s, start_time = clock_timestamp() where runid = %s
"""
FINISH_RUN = """
update cron.job_run_details
set status = %s, return_message = %s, end_time = clock_timestamp(), start_time = coalesce(start_time, clock_timestamp())
where runid = %s
"""
FAIL_INTERRUPTED = """
update cron.job_run_details set status = 'failed', return_message = 'server restarted'
where status in ('starting', 'running')
"""


class Scheduler:
    """Fires the jobs of one database until cancelled; ``changed`` is set when cron.job has changed.

    Raises psycopg.Error when the connection ``work`` is lost.
    """

    def __init__(self, dsn: str, work: AsyncConnection[DictRow], changed: asyncio.Event) -> None:
        self._dsn = dsn
        self._work = work
        self._changed = changed
        self._due_runs: Counter[int] = Counter()
        """Job id → runs that are due: a run that falls due during another one starts when that one ends."""
        self._running: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_RUNNING)
        self._stopping = False

    async def start(self, *, is_boot: bool) -> None:
        """Mark interrupted runs; at a boot the @reboot jobs fall due. Jobs that are made later are not among them."""
        await self._work.execute(FAIL_INTERRUPTED)
        if is_boot:
            jobs = await (await self._work.execute(ACTIVE_JOBS)).fetchall()
            self._due_runs.update(
                job["jobid"] for job in jobs if read_schedule(job["schedule"]).at_start
            )

    async def run(self) -> None:
        try:
            while True:
                self._changed.clear()
                wait_s = await self._tick()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        finally:
            self._stopping = True
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tick(self) -> float:
        """Fire the due jobs; returns the seconds until the next job may be due."""
        await self._work.execute(REGISTER)
        if (set_back := await self._work.execute(CATCH_UP)).rowcount:
            log.warning(
                "the server's clock was set back: %d jobs start from now", set_back.rowcount
            )
        jobs = await (await self._work.execute(ACTIVE_JOBS)).fetchall()
        known = {job["jobid"] for job in jobs}
        for jobid, task in list(self._running.items()):
            if jobid not in known:
                task.cancel()  # unscheduled, or no longer active
        wait_s = 1.0
        for job in jobs:
            schedule = read_schedule(job["schedule"])
            wait_s = min(wait_s, await self._fire(job, schedule))
            if self._due_runs[job["jobid"]] and job["jobid"] not in self._running:
                self._start(job)
        return max(wait_s, 0.001)

    async def _fire(self, job: dict[str, Any], schedule: Schedule) -> float:
        """Claim the due run of one job; returns the seconds until its next run may be due."""
        jobid: int = job["jobid"]
        now: datetime = job["now"]
        fired_at: datetime | None = job["fired_at"]
        if fired_at is None:
            return 0.0  # the job was made after REGISTER ran
        if schedule.at_start:
            return 1.0
        if schedule.seconds:
            left = fired_at + timedelta(seconds=schedule.seconds) - now
            if left > timedelta():
                return left.total_seconds()
            if jobid in self._running or self._due_runs[jobid]:
                return 1.0  # the end of a run sets self._changed
            due: datetime | None = now
        else:
            due = schedule.last_due(now.astimezone(time_zone(job["zone"])))
        if due and due > fired_at:
            cursor = await self._work.execute(FIRE, (due, jobid, due))
            self._due_runs[jobid] += cursor.rowcount
        return 60 - now.second - now.microsecond / 1e6

    def _start(self, job: dict[str, Any]) -> None:
        task = asyncio.create_task(self._run(job), name=f"cron job {job['jobid']}")
        self._running[job["jobid"]] = task
        self._due_runs[job["jobid"]] -= 1

        def ended(task: asyncio.Task[None]) -> None:
            del self._running[job["jobid"]]
            self._changed.set()
            if not task.cancelled() and task.exception():
                log.warning("cron job %s: its run could not be recorded", job["jobid"])

        task.add_done_callback(ended)

    async def _run(self, job: dict[str, Any]) -> None:
        async with self._slots:
            begun = await (await self._work.execute(INSERT_RUN, job)).fetchone()
            assert begun
            runid = begun["runid"]
            try:
                status, message = await self._run_command(job, runid)
            except asyncio.CancelledError:
                # At a shutdown the row stays: the next clock marks it "server restarted", as pg_cron does.
                if not self._stopping:
                    await self._work.execute(FINISH_RUN, ("failed", "job canceled", runid))
                raise
            await self._work.execute(FINISH_RUN, (status, message, runid))

    async def _run_command(self, job: dict[str, Any], runid: int) -> tuple[str, str]:
        """Run the command as the job's user on a new connection; returns status and return_message."""
        connection = await log_in(self._dsn, self._work, job["username"], job["database"])
        if connection is None:
            return "failed", "connection failed"
        try:
            await self._work.execute(MARK_RUNNING, (connection.info.backend_pid, runid))
            return await _execute(connection, job["command"])
        finally:
            await connection.close()  # closes during a COPY too, unlike leaving a ``with`` block


async def _execute(connection: psycopg.AsyncConnection[Any], command: str) -> tuple[str, str]:
    cursor = connection.cursor()
    try:
        await cursor.execute(command.encode())
        while cursor.nextset():
            pass
    except psycopg.Error as error:
        if connection.info.transaction_status == pq.TransactionStatus.ACTIVE:
            return "failed", "COPY not supported"
        if error.pgresult is not None:
            return "failed", error.pgresult.error_message.decode(errors="replace")
        return "failed", f"{error}\n"
    if cursor.description is not None:
        return "succeeded", "1 row" if cursor.rowcount == 1 else f"{cursor.rowcount} rows"
    return "succeeded", cursor.statusmessage or "0 rows"
