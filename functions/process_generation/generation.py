"""A request → a finished prediction, waited for: process-generation's own answer, and generate-image's."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from functions._shared.database.pool import Pool
from functions._shared.errors import GenerationFailed
from functions._shared.generation import GenerationRequest
from functions._shared.provider.failures import Failure, NotCreated, PredictionOver
from functions._shared.provider.prediction import TERMINAL, Prediction, outputs_of
from functions._shared.provider.replicate import Replicate
from functions._shared.resources import Resources
from functions.process_generation.prepare import Prepared, with_current_model

log = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_S = 600
GRACE_S = 60
"""How much later than our own time limit the provider ends a prediction that nobody waits for."""
POLL_FIRST_S, POLL_GROWTH, POLL_LAST_S = 0.25, 1.5, 3.0

OnPrediction = Callable[[str | None], Awaitable[None]]
"""Told the prediction's id as soon as it is known, before any waiting; None once it has ended without a picture."""


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
    *,
    pool: Pool | None = None,
    adopt: str | None = None,
    on_prediction: OnPrediction | None = None,
    timeout_s: float = TIMEOUT_S,
) -> GenerationResult:
    """Have the provider make the pictures of ``request`` and wait for them.

    ``adopt`` is the id of a prediction that an earlier attempt has paid for: it is waited for instead of a new one.
    Raises InvalidRequest for what no attempt can mend, GenerationFailed for the rest.
    """
    started = time.monotonic()

    async def attempt(prepared: Prepared) -> tuple[Prepared, Prediction]:
        if adopt:
            return prepared, Prediction(id=adopt, status="starting")
        deadline = started + timeout_s
        step = _create(resources.replicate, prepared, deadline, used, on_prediction)
        return prepared, await step

    used = pool or resources.pool
    prepared, prediction = await with_current_model(request, resources, used, attempt)
    try:
        prediction = await _wait(resources.replicate, prediction, started + timeout_s, timeout_s)
        output_urls = tuple(outputs_of(prediction))
    except PredictionOver:
        if on_prediction:
            await on_prediction(None)
        raise
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


def timed_out(timeout_s: float) -> PredictionOver:
    length = f"{timeout_s / 60:.0f} minutes" if timeout_s >= 60 else f"{timeout_s:g} seconds"
    return PredictionOver(
        f"Generation timeout after {length}",
        retry=False,
        error_class="timed_out",
    )


async def cancel(replicate: Replicate, prediction_id: str) -> None:
    """Ask the provider to stop; it is no matter if that fails, as Cancel-After ends the prediction all the same."""
    try:
        await replicate.cancel(prediction_id)
    except GenerationFailed as error:
        log.warning("prediction %s: not cancelled: %s", prediction_id, error)


async def _create(
    replicate: Replicate,
    prepared: Prepared,
    deadline: float,
    pool: Pool,
    on_prediction: OnPrediction | None,
) -> Prediction:
    """Create it; while the provider is busy, wait as long as it asks for: a throttled create has made nothing."""

    async def create_and_tell(left_s: float) -> Prediction:
        prediction = await replicate.create(
            prepared.model.replicate_id,
            prepared.version,
            prepared.input,
            cancel_after_s=int(left_s) + GRACE_S,
        )
        if on_prediction:
            await on_prediction(prediction.id)
        return prediction

    while True:
        left_s = deadline - time.monotonic()
        try:
            return await pool.to_the_end(create_and_tell(left_s))
        except NotCreated as busy:
            if not busy.retry_after_s or busy.retry_after_s > left_s:
                raise
            await asyncio.sleep(busy.retry_after_s)


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
            # The same id is asked for again: a poll costs nothing, a new prediction does.
            pause = max(pause, error.retry_after_s or POLL_LAST_S)
            log.warning("prediction %s: poll failed, trying again: %s", prediction.id, error)
    return prediction
