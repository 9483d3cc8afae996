"""The queue from Python: one function per SQL function of sql/2*.sql, and no other SQL."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from functions._shared.database import Pool, fenced

LEASE_S = 10
"""How long a worker may be silent before its jobs go to another; it renews each at a third of it."""


@dataclass(frozen=True)
class Job:
    """A claimed job. ``lease_token`` is the fencing token that every write about it carries."""

    id: UUID
    job_type: str
    payload: dict[str, Any]
    attempt_number: int
    max_attempts: int
    lease_token: int


async def claim(pool: Pool, limit: int, worker_id: str) -> list[Job]:
    """Up to ``limit`` jobs, now ours under a lease of LEASE_S."""
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(Job)) as cursor,
    ):
        await cursor.execute(
            "select id, job_type, payload, attempt_number, max_attempts, lease_token"
            " from public.claim_jobs(%s, %s, make_interval(secs => %s))",
            (limit, worker_id, LEASE_S),
        )
        return await cursor.fetchall()


async def complete(pool: Pool, job: Job, result: dict[str, Any]) -> None:
    """End a job well. Raises LeaseLost."""
    async with fenced(), pool.connection() as connection:
        await connection.execute(
            "select public.complete_job(%s, p_result => %s, p_lease_token => %s)",
            (job.id, Jsonb(result), job.lease_token),
        )


async def fail(
    pool: Pool,
    job: Job,
    error: str,
    *,
    retry: bool,
    retry_after_s: float | None = None,
    error_class: str | None = None,
) -> None:
    """End an attempt badly: back into the queue while ``retry`` and attempts remain. Raises LeaseLost.

    ``error_class`` is kept in the job's errors; by default busy, permanent or transient.
    """
    async with fenced(), pool.connection() as connection:
        await connection.execute(
            "select public.complete_job(%s, p_error => %s, p_lease_token => %s, p_retry => %s,"
            " p_retry_after => make_interval(secs => %s), p_error_class => %s)",
            (job.id, error, job.lease_token, retry, retry_after_s, error_class),
        )


async def extend(pool: Pool, jobs: Iterable[Job]) -> set[UUID]:
    """Renew the leases of ``jobs`` in one statement; returns the ids that are still ours."""
    held = list(jobs)
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select public.extend_leases(%s, %s, make_interval(secs => %s)) as id",
            ([job.id for job in held], [job.lease_token for job in held], LEASE_S),
        )
        return {row["id"] for row in await cursor.fetchall()}


async def requeue_expired(pool: Pool) -> int:
    """Take back the jobs of dead workers, all of them; how many. A claim looks at some only."""
    async with pool.connection() as connection:
        cursor = await connection.execute("select public.requeue_expired() as count")
        return int((await cursor.fetchall())[0]["count"])


async def progress(pool: Pool, job_ids: Iterable[UUID]) -> tuple[int, int]:
    """How many of these jobs are still processing, parked ones among them; and how many are back or failed."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select count(*) filter (where status = 'processing') as processing,"
            " count(*) filter (where status not in ('processing', 'completed')) as unwell"
            " from public.job_queue where id = any(%s)",
            (list(job_ids),),
        )
        [row] = await cursor.fetchall()
        return row["processing"], row["unwell"]


async def record_tick(pool: Pool) -> None:
    """Note that the clock has called."""
    async with pool.connection() as connection:
        await connection.execute("select public.record_tick()")


async def tick_overdue(pool: Pool) -> timedelta | None:
    """How long the clock has been silent, once that is too long; None while all is well, or there is no clock."""
    async with pool.connection() as connection:
        cursor = await connection.execute("select public.tick_overdue() as silence")
        silence: timedelta | None = (await cursor.fetchall())[0]["silence"]
        return silence


async def release(pool: Pool, job: Job) -> None:
    """Give an interrupted job back; its attempt does not count. Raises LeaseLost."""
    async with fenced(), pool.connection() as connection:
        await connection.execute("select public.release_job(%s, %s)", (job.id, job.lease_token))
