"""GET start-generation/<id>/events: status and progress as server-sent events, until the status is terminal.

event: status
id: <the row's version; a client that reconnects sends it as Last-Event-ID, and gets only later changes>
data: {"generation_id", "status", "stage", "progress", "error_message", "images"}

The caller has a token, or a ticket for this generation in the query (``tickets.py``).
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from functions.start_generation.own_generation import generation_id_of, own_generation
from functions.start_generation.streams import TERMINAL, Streams, Watch
from functions.start_generation.tickets import user_of

KEEP_ALIVE_S = 15.0
"""Between comments on a silent stream: below the read time-out of proxies."""
RETRY_MS = 1000
"""The reconnection time that clients are told."""
LAST = "-ended"
"""Suffix of the last event's id: with it, a reconnect needs no stream."""
FIELDS = ("status", "stage", "progress", "error_message", "images")


async def events(request: Request) -> Response:
    """The stream of the caller's generation; 204, which ends an EventSource's reconnects, after the last event."""
    generation = from_json(await own_generation(request, await user_of(request)))
    last_event_id = request.headers.get("last-event-id", "")
    if last_event_id.endswith(LAST) and generation["status"] in TERMINAL:
        return Response(status_code=204)
    version = last_event_id if last_event_id.isascii() else ""
    return StreamingResponse(
        _stream(request.state.streams, generation_id_of(request), version or None),
        media_type="text/event-stream",
        # no-transform, X-Accel-Buffering: a proxy that compresses or buffers would hold events back until the end.
        headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
    )


async def _stream(streams: Streams, generation_id: UUID, version: str | None) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    watch = streams.open(generation_id, version)
    sent: Any = None
    try:
        while not streams.closing:
            if not await _changed(watch):
                yield ": keep-alive\n\n"
                continue
            state = watch.state
            if state is None:
                continue
            fields = {name: state[name] for name in FIELDS}
            if fields != sent:
                sent = fields
                data = json.dumps({"generation_id": str(generation_id), **fields})
                last = LAST if state["status"] in TERMINAL else ""
                yield f"event: status\nid: {state['version']}{last}\ndata: {data}\n\n"
            if state["status"] in TERMINAL:
                return
    finally:
        streams.close(watch)


async def _changed(watch: Watch) -> bool:
    """Wait for a change; False after KEEP_ALIVE_S without one."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
            await watch.changed.wait()
    except TimeoutError:
        return False
    watch.changed.clear()
    return True
