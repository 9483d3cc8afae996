"""The routes of start-generation: POST one, GET the own ones; by id GET, DELETE, GET its events, POST for a ticket."""

from collections.abc import Mapping
from typing import Any, Literal, LiteralString

import psycopg
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions._shared import tracing
from functions._shared.database.sqlstates import refused
from functions._shared.image_models.reference import read_reference
from functions._shared.resources import resources_of
from functions._shared.web.bodies import read_object, validate
from functions._shared.web.function_app import function_app
from functions.process_generation.inputs import check_buildable
from functions.start_generation.events import events
from functions.start_generation.listing import list_own
from functions.start_generation.own_generation import generation_id_of, own_generation
from functions.start_generation.request import (
    StartRequest,
    body_hash,
    check_addresses,
    idempotency_key_of,
    start_requests,
)
from functions.start_generation.starts import Starts
from functions.start_generation.tickets import ticket

JSON = "application/json"
STATEMENTS: Mapping[str, LiteralString] = {
    "cancelled": "select public.cancel_generation(%s, %s)",
    "deleted": "select public.delete_generation(%s, %s)",
}
"""The status that DELETE answers with → what leads to it. Raise PT404, PT409."""


async def start(request: Request) -> Response:
    """Queue a generation per prompt, wake the worker, answer with both ids of each."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    body = await read_object(request, StartRequest)
    requests = start_requests(body)
    check_addresses(requests[0], resources)
    model = await resources.models.resolve(requests[0].model_id, resources.pool)
    check_buildable(requests[0], model)
    named: dict[str, Any] = {"model_id": model.replicate_id}
    if read_reference(requests[0].model_id).version:
        named["model_version"] = model.version
    key = idempotency_key_of(request)
    starts: Starts = request.state.starts
    with tracing.enqueue("generate-image"):
        named |= tracing.carried()
        wanted = [one.model_dump(exclude_none=True) | named for one in requests]
        if key is None:
            started = await starts.start(user_id, wanted)
        else:
            started = await starts.start_once(user_id, wanted, key, body_hash(body))
    return Response(
        to_json(
            {
                "success": True,
                **(
                    {"generations": started} if isinstance(body.get("prompt"), list) else started[0]
                ),
                "status": "queued",
                "message": "Image generation started. You will be notified when complete.",
            }
        ),
        media_type=JSON,
    )


async def show(request: Request) -> Response:
    """The caller's generation with its images; 404 for another user's, as for none."""
    user_id = await resources_of(request).auth.user(request)
    return Response(await own_generation(request, user_id), media_type=JSON)


class Ending(BaseModel):
    """The query of DELETE. ``only``: one of its two meanings; the other one is 409 then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    only: Literal["cancel", "delete"] | None = None


async def end(request: Request) -> JSONResponse:
    """Cancel the caller's generation and its prediction; a completed or failed one is deleted with its pictures."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    generation_id = generation_id_of(request)
    only = validate(Ending, dict(request.query_params)).only
    status = "deleted" if only == "delete" else "cancelled"
    async with refused(), resources.pool.connection() as connection:
        try:
            await connection.execute(STATEMENTS[status], (generation_id, user_id))
        except psycopg.Error as error:
            if only or error.sqlstate != "PT409":  # it has ended
                raise
            status = "deleted"
            await connection.execute(STATEMENTS[status], (generation_id, user_id))
    if status == "deleted":
        resources.worker_inbox.wake()
    else:
        resources.ended.generation(generation_id)
    return JSONResponse({"success": True, "generation_id": str(generation_id), "status": status})


app = function_app(
    [
        Route("/start-generation", start, methods=["POST"]),
        Route("/start-generation", list_own, methods=["GET"]),
        Route("/start-generation/{generation_id}", show, methods=["GET"]),
        Route("/start-generation/{generation_id}", end, methods=["DELETE"]),
        Route("/start-generation/{generation_id}/events", events, methods=["GET"]),
        Route("/start-generation/{generation_id}/ticket", ticket, methods=["POST"]),
    ],
)
