"""The route of generate-image: with a row of the client's, which follows the generation, or without one."""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.errors import FunctionError
from functions._shared.pictures.store import Stored, remove_stored, store_outputs
from functions._shared.resources import Resources, resources_of
from functions._shared.web.bodies import read_body
from functions._shared.web.function_app import function_app
from functions.generate_image_legacy import rows
from functions.generate_image_legacy.quota import counted
from functions.generate_image_legacy.request import LegacyRequest
from functions.process_generation import (
    GenerationResult,
    OnPrediction,
    Payer,
    process_generation,
)

STORE_PAUSES_S = (0.5, 2.0, 5.0)
"""Backoff between the rounds of storing: the caller waits, and the pictures are paid for."""


async def handle(request: Request) -> JSONResponse:
    """Answer once the picture is stored, up to JOB_TIMEOUT_MS later."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    body = await read_body(request, LegacyRequest)
    stored = Stored()
    answer: dict[str, Any]
    if body.generation_id is None:
        async with counted(resources.legacy_pool, user_id):
            result = await _make(body, uuid4(), user_id, resources, stored)
        first = stored.rows[0]
        answer = {"url": first["public_url"], "format": first["format"]}
    else:
        result, image = await _make_recorded(body, body.generation_id, user_id, resources, stored)
        answer = {"image": image}
    if adjustments := _adjustments(result, stored):  # else the keys of the original
        answer["adjustments"] = adjustments
    seconds = result.generation_time_seconds
    return JSONResponse({"success": True, **answer, "generation_time": seconds})


def _adjustments(result: GenerationResult, stored: Stored) -> list[str]:
    """What the model could not honour, and which of its pictures could not be stored, in words."""
    return [*result.adjustments, *stored.notes]


async def _make_recorded(
    body: LegacyRequest,
    generation_id: UUID,
    user_id: UUID,
    resources: Resources,
    stored: Stored,
) -> tuple[GenerationResult, dict[str, Any]]:
    """Make the pictures of the caller's own row, which ends as completed or failed; returns the first images row.

    Where no images rows are written the uploads are removed, before the row is failed: a repeated request stores anew.
    """
    pool = resources.legacy_pool
    adopt = await rows.begin(pool, generation_id, user_id)
    try:
        keep = partial(rows.keep_prediction, pool, generation_id)
        result = await _make(body, generation_id, user_id, resources, stored, keep, adopt)
        image = await rows.complete(
            pool,
            generation_id,
            stored.rows,
            _adjustments(result, stored),
            result.generation_time_seconds,
        )
        resources.ended.generation(generation_id)
        return result, image
    except asyncio.CancelledError:
        # Graceful shutdown. A repeated request for the failed row adopts the prediction that is paid for.
        await pool.to_the_end(_fail(resources, generation_id, stored, "The server was stopped"))
        raise
    except Exception as error:
        message = str(error) if isinstance(error, FunctionError) else "Internal error"
        await _fail(resources, generation_id, stored, message)
        raise


async def _fail(resources: Resources, generation_id: UUID, stored: Stored, message: str) -> None:
    await remove_stored(resources.storage, stored.paths)
    await rows.fail(resources.legacy_pool, generation_id, message)
    resources.ended.generation(generation_id)


async def _make(
    body: LegacyRequest,
    name: UUID,
    user_id: UUID,
    resources: Resources,
    stored: Stored,
    on_prediction: OnPrediction | None = None,
    adopt: str | None = None,
) -> GenerationResult:
    """Make and store the pictures, the first as ``<user_id>/<name>.<format>``, and record them in ``stored``.

    ``adopt``: the id of a prediction that is paid for, to be awaited in the place of a new one.
    """
    result = await process_generation(
        body,
        resources,
        Payer("generate-image", user_id, body.generation_id),
        pool=resources.legacy_pool,
        adopt=adopt,
        on_prediction=on_prediction,
    )
    for pause_s in (*STORE_PAUSES_S, None):
        await store_outputs(
            stored,
            resources.fetcher,
            resources.storage,
            result.output_urls,
            user_id=user_id,
            name=str(name),
            fallback={"width": result.width, "height": result.height},
        )
        if not stored.retriable or pause_s is None:
            break
        await asyncio.sleep(pause_s)
    await remove_stored(resources.storage, stored.leftovers)
    stored.require_any()
    return result


app = function_app(
    [Route("/generate-image", handle, methods=["POST"])],
)
