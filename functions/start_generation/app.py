"""Routes start-generation, start-generation/<id> and start-generation/<id>/events."""

import hashlib
import json
import re
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.database.sqlstates import refused
from functions._shared.errors import InvalidRequest, NotFound
from functions._shared.generation import find_generation
from functions._shared.resources import Resources, resources_of
from functions._shared.web.addresses import webhook_address
from functions._shared.web.bodies import read_object, validate
from functions._shared.web.function_app import function_app
from functions.start_generation.events import events
from functions.start_generation.request import StartRequest
from functions.start_generation.starts import Starts

MAX_PROMPTS = 50
KEY = re.compile(r"[ -~]{1,255}")


async def start(request: Request) -> JSONResponse:
    """Queue a generation and wake the worker; answers with both ids. An array of prompts: with those of each."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    body = await read_object(request, StartRequest)
    prompts = body.get("prompt")
    many = isinstance(prompts, list)
    requests = [
        validate(StartRequest, {**body, "prompt": prompt}) for prompt in _prompts(prompts, many)
    ]
    _check_addresses(requests[0], resources)
    model = await resources.models.resolve(requests[0].model_id, resources.pool)
    named: dict[str, Any] = {"model_id": model.replicate_id}
    if ":" in requests[0].model_id:
        named["model_version"] = model.version
    wanted = [one.model_dump(exclude_none=True) | named for one in requests]
    key = request.headers.get("idempotency-key")
    starts: Starts = request.state.starts
    if key is None:
        started = await starts.start(user_id, wanted)
    else:
        started = await starts.start_once(user_id, wanted, _good_key(key), _digest(body))
    resources.worker_inbox.wake()
    ids = [{name: str(value) for name, value in row.items()} for row in started]
    return JSONResponse(
        {
            "success": True,
            **({"generations": ids} if many else ids[0]),
            "status": "queued",
            "message": "Image generation started. You will be notified when complete.",
        }
    )


def _prompts(prompts: Any, many: bool) -> list[Any]:
    if not many:
        return [prompts]
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise InvalidRequest(f"prompt: an array must hold 1 to {MAX_PROMPTS} prompts")
    return list(prompts)


def _good_key(key: str) -> str:
    if not KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key: must be 1 to 255 printable ASCII characters")
    return key


def _digest(body: dict[str, Any]) -> str:
    """The same for the same fields in another order."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _check_addresses(request: StartRequest, resources: Resources) -> None:
    """What would be refused when the picture is made, or has been, without asking anybody. Raises InvalidRequest."""
    if request.source_image_url:
        resources.fetcher.check_source(request.source_image_url)
    if request.webhook_url:
        if resources.settings.webhook_secret is None:
            raise InvalidRequest("webhook_url: this server has no WEBHOOK_SECRET to sign with")
        webhook_address(request.webhook_url, resources.settings)


async def show(request: Request) -> JSONResponse:
    """The caller's generation with its images, as the row stands; anybody else's does not exist."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    generation = await find_generation(resources.pool, _generation_id(request), user_id)
    if generation is None:
        raise NotFound("Generation not found")
    return JSONResponse(generation)


async def cancel(request: Request) -> JSONResponse:
    """Cancel the caller's generation, and its prediction; 409 once it is completed or failed. May be repeated."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    generation_id = _generation_id(request)
    async with refused(), resources.pool.connection() as connection:
        await connection.execute(
            "select public.cancel_generation(%s, %s)", (generation_id, user_id)
        )
    return JSONResponse(
        {"success": True, "generation_id": str(generation_id), "status": "cancelled"}
    )


def _generation_id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["generation_id"])
    except ValueError:
        raise NotFound("Generation not found") from None


app = function_app(
    [
        Route("/start-generation", start, methods=["POST"]),
        Route("/start-generation/{generation_id}", show, methods=["GET"]),
        Route("/start-generation/{generation_id}", cancel, methods=["DELETE"]),
        Route("/start-generation/{generation_id}/events", events, methods=["GET"]),
    ],
)
