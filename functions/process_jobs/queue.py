"""The queue from Python: one function per SQL function of sql/19 to sql/27, and no other SQL."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.rows import tuple_row
from pydantic_core import from_json

from functions._shared import foreign, jobs
from functions._shared.database.dedicated import Connections
from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import fenced
from functions._shared.jobs import Job

UNREADABLE = "jsonb has no limits to depth and digits, this program has"
"""In place of a payload. Handlers refuse it, as they do all that is no object: the job fails at once, bad_input."""


class Ending(NamedTuple):
    """How an attempt ended: well, with ``result``, unless ``error`` is given. ``seconds``: how long its handler took.

    After an error the job goes back into the queue while ``retry`` and attempts remain. ``error_class`` is kept in the
    job's errors; SQL's default is busy, permanent or transient.
    """

    job: Job
    result: dict[str, Any] | None = None
    error: str | None = None
    retry: bool = True
    retry_after_s: float | None = None
    error_class: str | None = None
    seconds: float | None = None

    @property
    def recorded_class(self) -> str | None:
        """The error's class, as complete_jobs records it; None after success."""
        if self.error is None or self.error_class:
            return self.error_class
        if self.retry_after_s is not None:
            return "busy"
        return "transient" if self.retry else "permanent"

    @property
    def fails_for_good(self) -> bool:
        """As complete_jobs decides: the provider's own delay costs no attempt."""
        spent = self.retry_after_s is None and self.job.attempt_number >= self.job.max_attempts
        return self.error is not None and (spent or not self.retry)

    @property
    def failed_as(self) -> str | None:
        """The error class, SQL's default included; None after a success."""
        return None if self.error is None else self.error_class or "permanent"


class _PayloadLoader(Loader):
    """Reads a payload, in jsonb's binary form: a byte for the version, and the text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        text = bytes(data)[1:]
        try:
            return from_json(text)
        except ValueError:
            return _by_slower_parser(text)


def _by_slower_parser(text: bytes) -> Any:
    """Deeper than pydantic's parser reads, or UNREADABLE: a poison message must not fail its neighbours' claim."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return UNREADABLE


def _cursor(connection: AsyncConnection[Any]) -> AsyncCursor[Job]:
    """For jobs as rows: the columns are those of Job, in its order and in binary form."""
    cursor = connection.cursor(row_factory=_job_row)
    cursor.adapters.register_loader("jsonb", _PayloadLoader)
    return cursor


def _job_row(_: AsyncCursor[Any]) -> Callable[[Sequence[Any]], Job]:
    return Job._make


async def claim(
    connections: Connections, limit: int, worker_id: str, job_types: Sequence[str]
) -> list[Job]:
    """Up to ``limit`` jobs of ``job_types``, now ours under a lease of LEASE_S."""
    async with connections.connection() as connection, _cursor(connection) as cursor:
        await cursor.execute(
            "select id, job_type, payload, attempt_number, max_attempts, lease_token"
            " from public.claim_jobs(%s, %s, make_interval(secs => %s), %s)",
            (limit, worker_id, jobs.LEASE_S, list(job_types)),
            binary=True,
        )
        return await cursor.fetchall()


async def claim_suspect(pool: Pool, worker_id: str, job_types: Sequence[str]) -> Job | None:
    """A suspect (two workers died with it), ours under a lease of LEASE_S; to be run after begin_alone only."""
    async with pool.connection() as connection, _cursor(connection) as cursor:
        await cursor.execute(
            "select id, job_type, payload, attempt_number, max_attempts, lease_token"
            " from picture_edge.claim_suspect(%s, make_interval(secs => %s), %s)",
            (worker_id, jobs.LEASE_S, list(job_types)),
            binary=True,
        )
        return await cursor.fetchone()


async def begin_alone(pool: Pool, job: Job) -> None:
    """Record that the suspect runs alone: a crash from now on is this job's doing. Raises LeaseLost."""
    async with fenced("begin_alone"), pool.connection() as connection:
        await connection.execute(
            "select picture_edge.begin_alone(%s, %s, p_lease => make_interval(secs => %s))",
            (job.id, job.lease_token, jobs.LEASE_S),
        )


async def try_claim(pool: Pool, job_types: Sequence[str]) -> int:
    """Dry run of a claim, rolled back: how many jobs of ``job_types`` could be claimed, 0 or 1."""
    async with pool.connection() as connection, connection.transaction(force_rollback=True):
        cursor = await connection.execute(
            "select id from public.claim_jobs(1, 'process-jobs-test', make_interval(secs => %s), %s)",
            (jobs.LEASE_S, list(job_types)),
        )
        return len(await cursor.fetchall())


async def end_all(connections: Connections, endings: Sequence[Ending]) -> set[UUID]:
    """End attempts, each under its own fencing token; the ids of the ended jobs. The leases of the others were lost.

    Raises TypeError for a result that JSON cannot express.
    """
    async with (
        connections.connection() as connection,
        connection.cursor(row_factory=tuple_row) as cursor,
    ):
        await cursor.execute(
            "select public.complete_jobs("
            "p_job_ids => %b, p_lease_tokens => %b,"
            # One document for all results: an array of jsonb would have each dumped and quoted by itself.
            " p_results => array(select nullif(one, 'null') from jsonb_array_elements(%s::jsonb) as one),"
            " p_errors => %s::text[], p_retries => %s::boolean[], p_retry_afters => %s::interval[],"
            " p_error_classes => %s::text[]) as id",
            (
                [ending.job.id for ending in endings],
                [ending.job.lease_token for ending in endings],
                # Plain: a handler's result may quote a stranger (NUL, lone surrogates, infinite numbers).
                json.dumps([foreign.plain(ending.result) for ending in endings]),
                _or_none([ending.error and foreign.text(ending.error) for ending in endings]),
                _or_none([None if ending.retry else False for ending in endings]),
                _or_none([_seconds(ending.retry_after_s) for ending in endings]),
                _or_none([ending.error_class for ending in endings]),
            ),
            binary=True,
        )
        return {row[0] for row in await cursor.fetchall()}


def _or_none(values: Collection[Any]) -> Collection[Any] | None:
    """None in place of a column without a value: an array of nulls would be sent in vain."""
    return values if any(value is not None for value in values) else None


def _seconds(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


async def extend(pool: Pool, held: Collection[Job]) -> set[UUID]:
    """Renew the leases of ``held`` in one statement; returns the ids that are still ours."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select picture_edge.extend_leases("
            "p_job_ids => %s, p_lease_tokens => %s, p_lease => make_interval(secs => %s)) as id",
            ([job.id for job in held], [job.lease_token for job in held], jobs.LEASE_S),
        )
        return {row["id"] for row in await cursor.fetchall()}


async def requeue_expired(pool: Pool) -> int:
    """Put all jobs with an expired lease back into the queue; how many. A claim looks at some of them only."""
    async with pool.connection() as connection:
        cursor = await connection.execute("select picture_edge.requeue_expired() as count")
        return int((await cursor.fetchall())[0]["count"])


async def progress(pool: Pool, job_ids: Iterable[UUID]) -> tuple[int, int]:
    """How many of these jobs are processing (parked ones included), and how many went back into the queue or failed."""
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
    """Record a call of the clock (pg_cron through pg_net)."""
    async with pool.connection() as connection:
        await connection.execute("select picture_edge.record_tick()")


async def tick_overdue(pool: Pool) -> timedelta | None:
    """How long the clock has been silent, once that is too long; None while it calls in time, or where none is set."""
    async with pool.connection() as connection:
        # Not an interval: its text depends on IntervalStyle, which a transaction pooler's sessions may differ in.
        cursor = await connection.execute(
            "select extract(epoch from picture_edge.tick_overdue())::float8 as silence_s"
        )
        return _seconds((await cursor.fetchall())[0]["silence_s"])


async def clock_records(pool: Pool) -> list[str]:
    """What pg_cron's and pg_net's own records say is wrong, a text each."""
    async with pool.connection() as connection:
        cursor = await connection.execute("select picture_edge.clock_records() as found")
        found: list[str] = (await cursor.fetchall())[0]["found"]
        return found


async def unhandled_due(pool: Pool, job_types: Sequence[str]) -> list[str]:
    """Due jobs of other types than ``job_types``, a text for each type."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select job_type, jobs from picture_edge.unhandled_due(%s)", (list(job_types),)
        )
        return [
            f"{row['jobs']} due of type {foreign.text(row['job_type'])[:100]}, for which this version has no handler"
            for row in await cursor.fetchall()
        ]


async def paused_due(pool: Pool) -> list[str]:
    """Due jobs that a pause holds back, a text for each pause."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select job_type, jobs, paused_at from picture_edge.paused_due()"
        )
        return [
            f"{row['jobs']} due, held by pause_queue({row['job_type']})"
            f" since {row['paused_at']:%Y-%m-%d %H:%M}"
            for row in await cursor.fetchall()
        ]


async def tick_age(pool: Pool) -> int | None:
    """Seconds since the last call of the clock; None before the first one."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select seconds_since_last_tick as age from public.queue_status"
        )
        age: int | None = (await cursor.fetchall())[0]["age"]
        return None if age is None else int(age)


async def release(pool: Pool, job: Job) -> None:
    """Put an interrupted job back into the queue; its attempt does not count. Raises LeaseLost."""
    async with fenced("release"), pool.connection() as connection:
        await connection.execute(
            "select picture_edge.release_job(%s, %s)", (job.id, job.lease_token)
        )
