"""GET start-generation/<id>/events: status and progress as server-sent events, until the generation has ended.

event: status
id: <the row's version; sent back as Last-Event-ID, what was heard before is not told again>
data: {"generation_id", "status", "stage", "progress", "error_message", "images"}
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from functions._shared.errors import NotFound
from functions._shared.generation import find_generation
from functions._shared.resources import resources_of
from functions.start_generation.streams import ENDED, Streams, Watch

KEEP_ALIVE_S = 15.0
"""Shorter than proxies wait for a silent server."""
RETRY_MS = 1000
LAST = "-ended"
"""In the id of the last event."""
TOLD = ("status", "stage", "progress", "error_message", "images")


async def events(request: Request) -> Response:
    """The caller's generation as a stream; anybody else's does not exist."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    try:
        generation_id = UUID(request.path_params["generation_id"])
    except ValueError:
        raise NotFound("Generation not found") from None
    generation = await find_generation(resources.pool, generation_id, user_id)
    if generation is None:
        raise NotFound("Generation not found")
    heard = request.headers.get("last-event-id", "")
    if heard.endswith(LAST) and generation["status"] in ENDED:
        return Response(status_code=204)  # this tells an EventSource not to come again
    return StreamingResponse(
        _stream(request.state.streams, generation_id, heard if heard.isascii() else None),
        media_type="text/event-stream",
        # no-transform: a proxy that compresses would hold the events back until the stream has ended.
        headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
    )


async def _stream(streams: Streams, generation_id: UUID, heard: str | None) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    watch = streams.open(generation_id, heard or None)
    told: Any = None
    try:
        while not streams.closing:
            if not await _changed(watch):
                yield ": keep-alive\n\n"
                continue
            state = watch.state
            if state is None:
                continue
            news = {name: state[name] for name in TOLD}
            if news != told:
                told = news
                data = json.dumps({"generation_id": str(generation_id), **news})
                last = LAST if state["status"] in ENDED else ""
                yield f"event: status\nid: {state['version']}{last}\ndata: {data}\n\n"
            if state["status"] in ENDED:
                return
    finally:
        streams.close(watch)


async def _changed(watch: Watch) -> bool:
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
            await watch.changed.wait()
    except TimeoutError:
        return False
    watch.changed.clear()
    return True
