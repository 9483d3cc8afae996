"""The worker's health for /ready and, once per change, for the log: does its database answer, does cron call?"""

import logging
from datetime import timedelta

import psycopg

from functions._shared.database.pool import Pool
from functions._shared.database.schema import NEWER, schema_mismatch, trouble_of
from functions.process_jobs import queue

log = logging.getLogger(__name__)


class Health:
    """One to a worker, which reports each answered and each failed call of the queue."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._schema_looked_at = False
        """Since the last failure: sql/ may have been applied, or an older one restored, while the database was away."""
        self.trouble: str | None = None
        """Why the last claim or renewal failed, in words; None when it was answered."""
        self.clock_silent_for: timedelta | None = None
        """How long cron has not called process-jobs, once that is too long."""

    async def refusal(self) -> str | None:
        """Why nothing may be claimed, in words: older sql/, or another encoding, would fail every claimed job.

        A newer sql/ is warned of, and worked with. Raises psycopg.Error.
        """
        if self._schema_looked_at:
            return None
        mismatch = await schema_mismatch(self._pool)
        if mismatch and mismatch != NEWER:
            self._note(mismatch, "claims nothing")
            return mismatch
        self._schema_looked_at = True
        if mismatch:
            log.warning("%s", mismatch)
        return None

    def answered(self) -> None:
        """A claim was answered. The end of an outage is a warning as well: a log with its start alone misleads."""
        if self.trouble:
            log.warning("the queue answers again")
        self.trouble = None

    async def failed(self, error: psycopg.Error) -> None:
        """A claim or a renewal was not answered, or was refused by a schema that the code was not written for."""
        self._schema_looked_at = False
        self._note(await trouble_of(error, self._pool), type(error).__name__)

    def _note(self, trouble: str, detail: str) -> None:
        if trouble != self.trouble:
            log.warning("the queue does not answer: %s: %s", detail, trouble)
        self.trouble = trouble

    async def look_at_clock(self) -> None:
        """Whether cron is overdue; once per silence, what its own records say. Raises psycopg.Error."""
        silence = await queue.tick_overdue(self._pool)
        if silence and not self.clock_silent_for:
            records = await queue.clock_records(self._pool)
            log.warning(
                "cron has not called process-jobs for %d s%s",
                silence.total_seconds(),
                "".join(f"; {record}" for record in records),
            )
        elif self.clock_silent_for and not silence:
            log.warning("cron calls process-jobs again")
        self.clock_silent_for = silence
