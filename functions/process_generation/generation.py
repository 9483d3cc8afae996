"""A request → a finished prediction: build the input, pay for it once, wait for the end."""

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.fetch import fetch_source
from functions._shared.generation_request import GenerationRequest
from functions._shared.pictures import CONTENT_TYPES, inspect
from functions._shared.resources import Resources
from functions.process_generation.catalog import find_model, nearest_models
from functions.process_generation.inputs import build_input, output_format_of
from functions.process_generation.replicate import (
    TERMINAL,
    Prediction,
    PredictionOver,
    Replicate,
    ended_without_picture,
    first_output,
)

log = logging.getLogger(__name__)

TIMEOUT_S = 600
POLL_FIRST_S, POLL_GROWTH, POLL_LAST_S = 0.25, 1.5, 3.0

OnPrediction = Callable[[str | None], Awaitable[None]]
"""Told the prediction's id as soon as it is known, before any waiting; None once it has ended without a picture."""


@dataclass(frozen=True)
class GenerationResult:
    """``output_url`` is the provider's and lives for an hour. ``format``: webp, png, jpeg or svg. Sizes in pixels."""

    output_url: str
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
    adopt: str | None = None,
    on_prediction: OnPrediction | None = None,
    timeout_s: float = TIMEOUT_S,
) -> GenerationResult:
    """Have the provider make the picture of ``request`` and wait for it.

    ``adopt`` is the id of a prediction that an earlier attempt has paid for: it is waited for instead of a new one.
    Raises InvalidRequest for what no attempt can mend, GenerationFailed for the rest.
    """
    settings = resources.settings
    replicate = Replicate(
        resources.http, str(settings.replicate_api_url), settings.replicate_api_token
    )
    model = find_model(request.model_id)
    if model is None:
        near = ", ".join(nearest_models(request.model_id))
        raise InvalidRequest(
            f"Unknown model {request.model_id}" + (f", perhaps {near}" if near else "")
        )
    built = build_input(request, model)

    started = time.monotonic()
    if adopt:
        prediction: Prediction = {"id": adopt, "status": "starting"}
    else:
        version = (request.model_version or model.version) if model.version else None
        model_input = await _with_source(resources, built.input, request.source_image_url)
        create = replicate.create(model.replicate_id, version, model_input, int(timeout_s) + 60)
        prediction = await _to_the_end(_create_and_tell(create, on_prediction))
    try:
        prediction, output_url = await _wait(replicate, prediction, timeout_s)
    except PredictionOver:
        if on_prediction:
            await on_prediction(None)
        raise
    return GenerationResult(
        output_url=output_url,
        format=output_format_of(built.input, model),
        width=request.width or request.height or 1024,
        height=request.height or request.width or 1024,
        generation_time_seconds=round(time.monotonic() - started),
        prediction_id=prediction["id"],
        adjustments=built.adjustments,
    )


async def _create_and_tell(
    create: Awaitable[Prediction], on_prediction: OnPrediction | None
) -> Prediction:
    prediction = await create
    if on_prediction:
        await on_prediction(prediction["id"])
    return prediction


async def _to_the_end(step: Coroutine[Any, Any, Prediction]) -> Prediction:
    """Finish ``step`` even when cancelled in its middle: what is being paid for has to be written down first."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _wait(
    replicate: Replicate, prediction: Prediction, timeout_s: float
) -> tuple[Prediction, str]:
    """Poll until the prediction has ended; returns it and its picture's address. Raises PredictionOver."""
    deadline = time.monotonic() + timeout_s
    pause = POLL_FIRST_S
    while prediction["status"] not in TERMINAL:
        if time.monotonic() + pause > deadline:
            await _cancel(replicate, prediction["id"])
            raise PredictionOver(
                f"Generation timeout after {round(timeout_s / 60)} minutes", retry=False
            )
        await asyncio.sleep(pause)
        pause = min(pause * POLL_GROWTH, POLL_LAST_S)
        try:
            prediction = await replicate.get(prediction["id"])
        except GenerationFailed as error:
            if isinstance(error, PredictionOver) or not error.retry:
                raise
            # The same id is asked for again: a poll costs nothing, a new prediction does.
            pause = max(pause, error.retry_after_s or POLL_LAST_S)
            log.warning("prediction %s: poll failed, trying again: %s", prediction["id"], error)
    output_url = first_output(prediction.get("output"))
    if prediction["status"] != "succeeded" or output_url is None:
        raise ended_without_picture(prediction)
    return prediction, output_url


async def _cancel(replicate: Replicate, prediction_id: str) -> None:
    try:
        await replicate.cancel(prediction_id)
    except GenerationFailed as error:  # its Cancel-After ends it all the same
        log.warning("prediction %s: not cancelled: %s", prediction_id, error)


async def _with_source(
    resources: Resources, model_input: dict[str, Any], url: str | None
) -> dict[str, Any]:
    """``model_input`` with the source image itself where its address stands, fetched only if the model takes it."""
    if url is None or not any(value in (url, [url]) for value in model_input.values()):
        return model_input
    picture = await asyncio.to_thread(inspect, await fetch_source(resources, url))
    encoded = base64.b64encode(picture.data).decode()
    data_uri = f"data:{CONTENT_TYPES[picture.format]};base64,{encoded}"
    return {
        key: data_uri if value == url else [data_uri] if value == [url] else value
        for key, value in model_input.items()
    }
