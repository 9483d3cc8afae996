"""The route of generate-image: with a row of the client's, which follows the generation, or without one."""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.errors import FunctionError
from functions._shared.pictures.store import fetch_and_store
from functions._shared.resources import Resources, resources_of
from functions._shared.web.bodies import read_body
from functions._shared.web.function_app import function_app
from functions.generate_image_legacy import rows
from functions.generate_image_legacy.quota import counted
from functions.generate_image_legacy.request import LegacyRequest
from functions.process_generation import GenerationResult, OnPrediction, process_generation


async def handle(request: Request) -> JSONResponse:
    """Answer once the picture is stored, up to JOB_TIMEOUT_MS later."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    body = await read_body(request, LegacyRequest)
    if body.generation_id is None:
        async with counted(resources.legacy_pool, user_id):
            result, stored = await _make(body, uuid4(), user_id, resources)
        answer = {"url": stored[0]["public_url"], "format": stored[0]["format"]}
    else:
        result, image = await _make_recorded(body, body.generation_id, user_id, resources)
        answer = {"image": image}
    told = {"adjustments": list(result.adjustments)} if result.adjustments else {}
    seconds = result.generation_time_seconds
    return JSONResponse({"success": True, **answer, "generation_time": seconds, **told})


async def _make_recorded(
    body: LegacyRequest, generation_id: UUID, user_id: UUID, resources: Resources
) -> tuple[GenerationResult, dict[str, Any]]:
    """Make the pictures of the caller's own row, which ends as completed or failed; returns the first images row."""
    pool = resources.legacy_pool
    adopt = await rows.begin(pool, generation_id, user_id)
    try:
        keep = partial(rows.keep_prediction, pool, generation_id)
        result, stored = await _make(body, generation_id, user_id, resources, keep, adopt)
        return result, await rows.complete(pool, generation_id, stored, result)
    except asyncio.CancelledError:
        # Graceful shutdown. A repeated request for the failed row adopts the prediction that is paid for.
        await pool.to_the_end(rows.fail(pool, generation_id, "The server was stopped"))
        raise
    except Exception as error:
        message = str(error) if isinstance(error, FunctionError) else "Internal error"
        await rows.fail(pool, generation_id, message)
        raise


async def _make(
    body: LegacyRequest,
    name: UUID,
    user_id: UUID,
    resources: Resources,
    on_prediction: OnPrediction | None = None,
    adopt: str | None = None,
) -> tuple[GenerationResult, list[dict[str, Any]]]:
    """Make and store the pictures, the first as ``<user_id>/<name>.<format>``; returns the fields of their images rows.

    ``adopt``: the id of a prediction that is paid for, to be awaited in the place of a new one.
    """
    result = await process_generation(
        body, resources, pool=resources.legacy_pool, adopt=adopt, on_prediction=on_prediction
    )
    stored = await fetch_and_store(
        resources.fetcher,
        resources.storage,
        result.output_urls,
        user_id=user_id,
        name=str(name),
        width=result.width,
        height=result.height,
    )
    return result, stored


app = function_app(
    [Route("/generate-image", handle, methods=["POST"])],
)
