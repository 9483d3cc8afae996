"""Routes process-generation and process-generation/webhook."""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.errors import NotFound
from functions._shared.generation import find_generation
from functions._shared.resources import resources_of
from functions._shared.web.bodies import read_body
from functions._shared.web.function_app import function_app
from functions.process_generation import webhook
from functions.process_generation.blocking import process_generation
from functions.process_generation.request import ProcessGenerationRequest
from functions.process_generation.spending import Payer


async def handle(request: Request) -> JSONResponse:
    """Answer when the picture is made: 200, 400 for a request no model takes, 500 when the provider failed."""
    resources = resources_of(request)
    await resources.auth.service(request, "process-generation")
    body = await read_body(request, ProcessGenerationRequest)
    if body.generation_id and not await find_generation(resources.pool, body.generation_id):
        raise NotFound("Generation not found")
    payer = Payer("process-generation", generation_id=body.generation_id)
    result = await process_generation(body, resources, payer)
    return JSONResponse({"success": True, **asdict(result)})


app = function_app(
    [
        Route("/process-generation", handle, methods=["POST"]),
        Route("/process-generation/webhook", webhook.handle, methods=["POST"]),
    ],
)
