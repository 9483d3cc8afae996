"""Routes process-generation and process-generation/webhook."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.bodies import read_body
from functions._shared.errors import NotFound
from functions._shared.function_app import function_app
from functions._shared.generation_request import GenerationRequest
from functions._shared.generations import find_generation
from functions._shared.resources import resources_of
from functions.process_generation import webhook
from functions.process_generation.generation import process_generation


class ProcessGenerationRequest(GenerationRequest):
    """process-generation's body: a generation, and perhaps the row that it is for."""

    generation_id: Annotated[UUID, Field(strict=False)] | None = None
    """A row there must be: nothing is paid for one that is deleted or misspelt. Nothing is written to it."""


async def handle(request: Request) -> JSONResponse:
    """Answer when the picture is made: 200, 400 for a request no model takes, 500 when the provider failed."""
    resources = resources_of(request)
    await resources.auth.service(request, "process-generation")
    body = await read_body(request, ProcessGenerationRequest)
    if body.generation_id and not await find_generation(resources.pool, body.generation_id):
        raise NotFound("Generation not found")
    result = await process_generation(body, resources)
    return JSONResponse({"success": True, **asdict(result)})


app = function_app(
    [
        Route("/process-generation", handle, methods=["POST"]),
        Route("/process-generation/webhook", webhook.handle, methods=["POST"]),
    ],
)
