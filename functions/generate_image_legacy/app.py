"""Route generate-image."""

from functools import partial
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.bodies import read_body
from functions._shared.errors import EXCEPTION_HANDLERS, FunctionError
from functions._shared.generation_request import LegacyRequest
from functions._shared.pictures import fetch_and_store
from functions._shared.resources import Resources, resources_of
from functions.generate_image_legacy import rows
from functions.process_generation import process_generation


async def handle(request: Request) -> JSONResponse:
    """Answer when the picture is stored, however long it takes."""
    resources = resources_of(request)
    user_id = resources.auth.user(request)
    body = await read_body(request, LegacyRequest)
    if body.generation_id is None:
        return await _unrecorded(body, user_id, resources)
    await rows.begin(resources.legacy_pool, body.generation_id, user_id)
    try:
        return await _recorded(body, body.generation_id, user_id, resources)
    except FunctionError as error:
        await rows.fail(resources.legacy_pool, body.generation_id, str(error))
        raise
    except Exception:
        await rows.fail(resources.legacy_pool, body.generation_id, "Internal error")
        raise


async def _recorded(
    body: LegacyRequest, generation_id: UUID, user_id: UUID, resources: Resources
) -> JSONResponse:
    keep = partial(rows.keep_prediction, resources.legacy_pool, generation_id)
    result = await process_generation(body, resources, on_prediction=keep)
    stored = await fetch_and_store(
        resources,
        result.output_url,
        user_id=user_id,
        name=str(generation_id),
        width=result.width,
        height=result.height,
    )
    image = await rows.complete(
        resources.legacy_pool, generation_id, stored, result.generation_time_seconds
    )
    return JSONResponse(
        {"success": True, "image": image, "generation_time": result.generation_time_seconds}
    )


async def _unrecorded(body: LegacyRequest, user_id: UUID, resources: Resources) -> JSONResponse:
    result = await process_generation(body, resources)
    stored = await fetch_and_store(
        resources,
        result.output_url,
        user_id=user_id,
        name=str(uuid4()),
        width=result.width,
        height=result.height,
    )
    return JSONResponse(
        {
            "success": True,
            "url": stored["public_url"],
            "format": stored["format"],
            "generation_time": result.generation_time_seconds,
        }
    )


app = Starlette(
    routes=[Route("/generate-image", handle, methods=["POST"])],
    exception_handlers=EXCEPTION_HANDLERS,
)
