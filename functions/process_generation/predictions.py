"""Paid predictions from Python: one function per SQL function of sql/32 to sql/35, and the two lookups."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import args_row, class_row
from psycopg.types.json import Jsonb

from functions._shared import jobs
from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import fenced, refused
from functions._shared.database.steps import Step
from functions._shared.errors import GenerationFailed, PaymentRequired, TooManyRequests
from functions._shared.jobs import Job
from functions._shared.metrics import recording
from functions._shared.provider.failures import Failure, PredictionOver
from functions.process_generation.prepare import ProviderRequest

RATE_LIMIT_MARGIN_S = 0.5
"""Added to the wait of a 429: a request that arrives a moment too early counts against the next window."""
BUDGET_S = 300.0
"""How long a job waits that finds its budget spent: an operator may raise it before the day is over."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A claimed job and the fencing token it is held under."""

    job_id: UUID
    lease_token: int


@dataclass(frozen=True, kw_only=True)
class Intent(Lease):
    """A row of predictions: committed before the create, so that a paid prediction is never unknown to us."""

    id: UUID
    callback_secret: str


@dataclass(frozen=True, kw_only=True)
class RecoverableIntent(Intent):
    """An intent with the fields that its prediction is found by, if the create's answer was lost (adopt.py).

    ``status``: ``running`` once the provider's id is known, else ``intended``. ``age_s``: its age when it was read.
    """

    status: str
    model: str
    version: str | None
    input: dict[str, Any]
    created_at: datetime
    age_s: float


@dataclass(frozen=True, kw_only=True)
class CallbackIntent(Intent):
    """The intent that a callback names; ``prediction_id`` is None while the create's answer is awaited."""

    status: str
    prediction_id: str | None


@dataclass(frozen=True, kw_only=True)
class DuePrediction(Intent):
    """A running prediction to be polled now. ``expired``: past its time limit. ``wanted`` false: its job has ended."""

    prediction_id: str
    created_at: datetime
    expired: bool
    wanted: bool
    next_poll_s: float
    generation_id: UUID | None


_BEGIN = Step(
    call="picture_edge.begin_generate_image("
    "given.job_id, given.lease_token, given.generation_id, make_interval(secs => given.timeout_s))",
    reads="step.job_id, step.lease_token, step.id, step.callback_secret, step.status, step.model, step.version,"
    " step.input, step.created_at, extract(epoch from clock_timestamp() - step.created_at)::float8 as age_s",
    columns={
        "job_id": "uuid",
        "lease_token": "bigint",
        "generation_id": "uuid",
        "timeout_s": "float8",
    },
)
_INTEND = Step(
    call="picture_edge.intend_prediction(given.job_id, given.lease_token, given.model, given.version, given.input,"
    " given.format, array(select jsonb_array_elements_text(given.adjustments)),"
    " make_interval(secs => given.timeout_s))",
    reads="step.intent_id, step.callback_secret, step.created_at, step.typical_seconds,"
    " extract(epoch from step.retry_after)::float8 as retry_after_s",
    columns={
        "job_id": "uuid",
        "lease_token": "bigint",
        "model": "text",
        "version": "text",
        "input": "jsonb",
        "format": "text",
        "adjustments": "jsonb",
        "timeout_s": "float8",
    },
)
_PARK = Step(
    call="picture_edge.park_prediction(given.intent_id, given.lease_token, given.prediction_id)",
    reads="step as seconds",
    columns={
        "job_id": "uuid",
        "lease_token": "bigint",
        "intent_id": "uuid",
        "prediction_id": "text",
    },
)
_SUCCEED = Step(
    call="picture_edge.succeed_prediction(given.intent_id, given.lease_token,"
    " array(select jsonb_array_elements_text(given.output_urls)), given.seconds, given.worker_id,"
    " make_interval(secs => given.lease_s))",
    reads="step.id, step.job_type, step.payload, step.attempt_number, step.max_attempts, step.lease_token",
    columns={
        "job_id": "uuid",
        "lease_token": "bigint",
        "intent_id": "uuid",
        "output_urls": "jsonb",
        "seconds": "float8",
        "worker_id": "text",
        "lease_s": "float8",
    },
)
"""Each step of a prediction that leads to its picture: batched, as all of them cost a commit."""


async def begin(
    pool: Pool, lease: Lease, generation_id: UUID, timeout_s: float
) -> RecoverableIntent | None:
    """Mark the generation processing; an earlier attempt's intent, if any; if its prediction runs, the job is parked.

    Raises LeaseLost, NotFound.
    """
    async with fenced("begin"):
        row = await _BEGIN.run(pool, lease.job_id, lease.lease_token, generation_id, timeout_s)
    return RecoverableIntent(**row) if row["id"] else None


async def intend(
    pool: Pool, lease: Lease, prepared: ProviderRequest, timeout_s: float
) -> tuple[RecoverableIntent, float | None]:
    """Commit the intent; returned with the seconds that the model's pictures have typically taken lately.

    Raises LeaseLost, and GenerationFailed while a rate limit of the provider holds (busy), or a budget is spent.
    """
    try:
        async with refused(), fenced("intend"):
            row = await _INTEND.run(
                pool,
                lease.job_id,
                lease.lease_token,
                prepared.model.replicate_id,
                prepared.version,
                Jsonb(prepared.recorded),
                prepared.format,
                Jsonb(prepared.adjustments),
                timeout_s,
            )
    except (PaymentRequired, TooManyRequests) as spent:
        raise GenerationFailed(
            str(spent), retry_after_s=BUDGET_S, error_class="out_of_budget"
        ) from None
    if row["intent_id"] is None:
        raise GenerationFailed(
            "The provider has asked us to wait",
            retry_after_s=row["retry_after_s"],
            error_class="busy",
        )
    intent = RecoverableIntent(
        job_id=lease.job_id,
        lease_token=lease.lease_token,
        id=row["intent_id"],
        callback_secret=row["callback_secret"],
        status="intended",
        model=prepared.model.replicate_id,
        version=prepared.version,
        input=prepared.recorded,
        created_at=row["created_at"],
        age_s=0,
    )
    return intent, row["typical_seconds"]


async def park(pool: Pool, intent: Intent, prediction_id: str) -> float | None:
    """Commit the provider's id and park the job; the seconds until its first poll. Raises LeaseLost."""
    async with fenced("park"):
        row = await _PARK.run(pool, intent.job_id, intent.lease_token, intent.id, prediction_id)
    seconds: float | None = row["seconds"]
    return seconds


async def void(pool: Pool, intent: Intent, error: str, error_class: str | None) -> None:
    """Write that the provider has created nothing for the intent."""
    async with pool.connection() as connection:
        await connection.execute(
            "select picture_edge.void_prediction(%s, %s, %s, %s)",
            (intent.id, intent.lease_token, error, error_class),
        )


async def limit_provider(pool: Pool, busy: Failure) -> None:
    """Store a 429's rate limit, which holds for all workers."""
    recording.THROTTLED.wait((busy.retry_after_s or 0) + RATE_LIMIT_MARGIN_S)
    async with pool.connection() as connection:
        await connection.execute(
            "select picture_edge.limit_provider(make_interval(secs => %s), make_interval(secs => %s))",
            ((busy.retry_after_s or 0) + RATE_LIMIT_MARGIN_S, busy.spacing_s),
        )


async def succeed(
    pool: Pool,
    intent: Intent,
    output_urls: Collection[str],
    seconds: float | None,
    worker_id: str | None,
) -> Job | None:
    """Complete the job and queue the download. Idempotent. Raises LeaseLost.

    With ``worker_id`` the download is claimed for that worker, under a lease of LEASE_S, and returned.
    """
    async with fenced("succeed"):
        row = await _SUCCEED.run(
            pool,
            intent.job_id,
            intent.lease_token,
            intent.id,
            Jsonb([*output_urls]),
            seconds,
            worker_id,
            jobs.LEASE_S,
        )
    return Job(**row) if row["id"] else None


async def fail(pool: Pool, intent: Intent, status: str, over: PredictionOver) -> Job | None:
    """End the attempt without a picture; the job, if it has failed for good. Idempotent. Raises LeaseLost.

    The job's payload has generation_id, model_id and user_id alone.
    """
    async with fenced("fail"), pool.connection() as connection:
        await connection.execute(
            "select picture_edge.fail_prediction(%s, %s, %s, %s, %s, %s, make_interval(secs => %s))",
            (
                intent.id,
                intent.lease_token,
                status,
                str(over),
                over.error_class,
                over.retry,
                over.retry_after_s,
            ),
        )
        cursor = connection.cursor(row_factory=args_row(Job))
        await cursor.execute(
            "select id, job_type, jsonb_build_object('generation_id', payload -> 'generation_id',"
            " 'model_id', payload -> 'model_id', 'user_id', payload -> 'user_id'),"
            " attempt_number, max_attempts, lease_token"
            " from public.job_queue where id = %s and status = 'failed'",
            (intent.job_id,),
        )
        return await cursor.fetchone()


async def abandon(pool: Pool, intent: Intent) -> None:
    """Write that the prediction was cancelled because its job had ended."""
    async with pool.connection() as connection:
        await connection.execute("select picture_edge.abandon_prediction(%s)", (intent.id,))


async def claim_polls(pool: Pool, limit: int) -> list[DuePrediction]:
    """Up to ``limit`` running predictions that are due, claimed for this process until their next poll."""
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(DuePrediction)) as cursor,
    ):
        await cursor.execute(
            "select intent_id as id, job_id, lease_token, callback_secret, prediction_id, created_at, expired,"
            " wanted, next_poll_seconds as next_poll_s, generation_id from picture_edge.claim_polls(%s)",
            (limit,),
            binary=True,  # uuid and timestamptz are read in a third of the time
        )
        return await cursor.fetchall()


async def report_progress(pool: Pool, reports: Collection[tuple[UUID, str, int]]) -> None:
    """Write the progress of generations: id, stage, percent."""
    async with pool.connection() as connection:
        await connection.execute(
            "select picture_edge.report_progress("
            "p_generation_ids => %b, p_stages => %b::text[], p_progress => %b::int[])",
            tuple(map(list, zip(*reports, strict=True))),
        )


async def find(pool: Pool, intent_id: UUID) -> CallbackIntent | None:
    """The intent that a callback names."""
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(CallbackIntent)) as cursor,
    ):
        await cursor.execute(
            "select id, job_id, lease_token, callback_secret, status, prediction_id"
            " from public.predictions where id = %s",
            (intent_id,),
        )
        return await cursor.fetchone()


async def known_ids(pool: Pool, prediction_ids: Collection[str]) -> set[str]:
    """Which of these ids a row has already, blocking generations included."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select prediction_id as id from public.predictions where prediction_id = any(%(ids)s)"
            " union select replicate_prediction_id from public.image_generations"
            " where replicate_prediction_id = any(%(ids)s)",
            {"ids": list(prediction_ids)},
        )
        return {row["id"] for row in await cursor.fetchall()}
