"""Blocking generation: create a prediction and poll it until it ends. For process-generation and generate-image."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from functions._shared.database.pool import Pool
from functions._shared.generation import GenerationRequest
from functions._shared.provider.failures import Failure, NotCreated, PredictionOver
from functions._shared.provider.prediction import TERMINAL, Prediction, outputs_of
from functions._shared.provider.replicate import Replicate
from functions._shared.resources import Resources
from functions.process_generation.prepare import ProviderRequest, prepare, prepare_again
from functions.process_generation.spending import Payer, begin_spend, end_spend
from functions.process_generation.terminal import CANCEL_AFTER_MARGIN_S, cancel, timed_out

log = logging.getLogger(__name__)

TIMEOUT_S = 600
POLL_FIRST_S, POLL_GROWTH, POLL_LAST_S = 0.25, 1.5, 3.0
"""Exponential backoff between polls."""

OnPrediction = Callable[[str | None], Awaitable[None]]
"""Called with the prediction's id once it is created, before any poll; with None once it ended without a picture."""


@dataclass(frozen=True)
class GenerationResult:
    """``output_url`` is the provider's and lives for an hour. ``format``: webp, png, jpeg or svg. Sizes in pixels."""

    output_url: str
    output_urls: tuple[str, ...]
    """All of them; ``output_url`` is the first."""
    format: str
    width: int
    height: int
    generation_time_seconds: int
    prediction_id: str
    adjustments: tuple[str, ...]
    """What the model could not honour, in words."""


async def process_generation(
    request: GenerationRequest,
    resources: Resources,
    payer: Payer,
    *,
    pool: Pool | None = None,
    adopt: str | None = None,
    on_prediction: OnPrediction | None = None,
    timeout_s: float = TIMEOUT_S,
) -> GenerationResult:
    """Have the provider make the pictures of ``request`` and wait for them.

    ``adopt`` is the id of a prediction that an earlier call has paid for: it is polled, and none is created.
    Raises InvalidRequest for what no retry can mend, GenerationFailed for the rest.
    """
    pool = pool or resources.pool
    started = time.monotonic()
    deadline = started + timeout_s
    replicate = resources.replicate
    prepared = await prepare(request, resources, pool)
    if adopt:
        prediction = Prediction(id=adopt, status="starting")
    else:
        try:
            prediction = await _create(prepared, replicate, pool, deadline, payer, on_prediction)
        except NotCreated as refused:
            prepared = await prepare_again(prepared, refused, request, resources, pool)
            prediction = await _create(prepared, replicate, pool, deadline, payer, on_prediction)
    try:
        prediction = await _wait(replicate, prediction, deadline, timeout_s)
        output_urls = tuple(outputs_of(prediction))
    except PredictionOver:
        await end_spend(pool, prediction.id, "failed", time.monotonic() - started)
        resources.ended.prediction(prediction.id)
        if on_prediction:
            await on_prediction(None)
        raise
    seconds = time.monotonic() - started
    await end_spend(pool, prediction.id, "succeeded", seconds, len(output_urls))
    resources.ended.prediction(prediction.id)
    return GenerationResult(
        output_url=output_urls[0],
        output_urls=output_urls,
        format=prepared.format,
        width=request.width or request.height or 1024,
        height=request.height or request.width or 1024,
        generation_time_seconds=round(time.monotonic() - started),
        prediction_id=prediction.id,
        adjustments=prepared.adjustments,
    )


async def _create(
    prepared: ProviderRequest,
    replicate: Replicate,
    pool: Pool,
    deadline: float,
    payer: Payer,
    on_prediction: OnPrediction | None,
) -> Prediction:
    """Create the prediction. A throttled create (429) has made nothing, so it is repeated while the time allows."""
    while True:
        left_s = deadline - time.monotonic()
        try:
            return await pool.to_the_end(
                _create_and_tell(prepared, replicate, pool, left_s, payer, on_prediction)
            )
        except NotCreated as busy:
            if not busy.retry_after_s or busy.retry_after_s > left_s:
                raise
            await asyncio.sleep(busy.retry_after_s)


async def _create_and_tell(
    prepared: ProviderRequest,
    replicate: Replicate,
    pool: Pool,
    left_s: float,
    payer: Payer,
    on_prediction: OnPrediction | None,
) -> Prediction:
    prediction = await replicate.create(
        prepared.model.replicate_id,
        prepared.version,
        prepared.input,
        cancel_after_s=int(left_s) + CANCEL_AFTER_MARGIN_S,
    )
    if on_prediction:
        await on_prediction(prediction.id)
    await begin_spend(pool, payer, prediction.id, prepared.model.replicate_id, prepared.input)
    return prediction


async def _wait(
    replicate: Replicate, prediction: Prediction, deadline: float, timeout_s: float
) -> Prediction:
    """Poll until the prediction has ended. Raises PredictionOver when the time is up."""
    pause = POLL_FIRST_S
    while prediction.status not in TERMINAL:
        if time.monotonic() + pause > deadline:
            await cancel(replicate, prediction.id)
            raise timed_out(timeout_s)
        await asyncio.sleep(pause)
        pause = min(pause * POLL_GROWTH, POLL_LAST_S)
        try:
            prediction = await replicate.get(prediction.id)
        except Failure as error:
            if isinstance(error, PredictionOver) or not error.retry:
                raise
            # Retry the poll, which is free, never the create, which costs money.
            pause = max(pause, error.retry_after_s or POLL_LAST_S)
            log.warning("prediction %s: poll failed, trying again: %s", prediction.id, error)
    return prediction
