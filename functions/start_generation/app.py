"""Routes start-generation and start-generation/<id>."""

from typing import Any, cast
from uuid import UUID

from psycopg.types.json import Jsonb
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.bodies import read_body
from functions._shared.errors import EXCEPTION_HANDLERS, NotFound
from functions._shared.generation_request import GenerationRequest
from functions._shared.resources import resources_of

GENERATION = """
select to_jsonb(generation) || jsonb_build_object('images', coalesce(
    (select jsonb_agg(image order by image.created_at) from public.images as image
     where image.generation_id = generation.id), '[]'::jsonb)) as generation
from public.image_generations as generation
where generation.id = %s and generation.user_id = %s
"""


async def start(request: Request) -> JSONResponse:
    """Queue a generation and wake the worker; answers with both ids."""
    resources = resources_of(request)
    user_id = resources.auth.user(request)
    body = await read_body(request, GenerationRequest)
    model = await resources.models.resolve(body.model_id, resources.pool)
    payload = body.model_dump(exclude_none=True)
    payload["model_id"] = model.replicate_id
    if ":" in body.model_id:
        payload["model_version"] = model.version
    async with resources.pool.connection() as connection:
        cursor = await connection.execute(
            "select * from public.start_generation(%s, %s)",
            (user_id, Jsonb(payload)),
        )
        row = cast(dict[str, Any], await cursor.fetchone())
    resources.wake()
    return JSONResponse(
        {
            "success": True,
            "generation_id": str(row["generation_id"]),
            "job_id": str(row["job_id"]),
            "status": "queued",
            "message": "Image generation started. You will be notified when complete.",
        }
    )


async def show(request: Request) -> JSONResponse:
    """The caller's generation with its images, as the row stands; anybody else's does not exist."""
    resources = resources_of(request)
    user_id = resources.auth.user(request)
    try:
        generation_id = UUID(request.path_params["generation_id"])
    except ValueError:
        raise NotFound("Generation not found") from None
    async with resources.pool.connection() as connection:
        cursor = await connection.execute(GENERATION, (generation_id, user_id))
        row = await cursor.fetchone()
    if row is None:
        raise NotFound("Generation not found")
    return JSONResponse(row["generation"])


app = Starlette(
    routes=[
        Route("/start-generation", start, methods=["POST"]),
        Route("/start-generation/{generation_id}", show, methods=["GET"]),
    ],
    exception_handlers=EXCEPTION_HANDLERS,
)
