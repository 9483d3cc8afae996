"""A generation's changes as server-sent events: they tell the page only that it is to fetch itself again."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

KEEP_ALIVE_S = 15.0
"""Between comments on a silent stream: below the read time-out of proxies."""
TERMINAL = frozenset({"completed", "failed", "cancelled"})
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class Watch(Protocol):
    state: dict[str, Any] | None
    changed: asyncio.Event


class Streams(Protocol):
    """What start-generation's event streams of the process are followed by; ``request.state.streams``."""

    closing: bool

    def open(self, generation_id: UUID, version: str | None) -> Watch: ...

    def close(self, watch: Any) -> None: ...


def changes(request: Request, generation_id: UUID, until: float) -> Response:
    """``until``: when the reader's session is over, in Unix time."""
    streams: Streams = request.state.streams
    return StreamingResponse(
        events_of(streams, generation_id, until), media_type="text/event-stream", headers=HEADERS
    )


async def events_of(streams: Streams, generation_id: UUID, until: float) -> AsyncIterator[str]:
    watch = streams.open(generation_id, None)
    try:
        while not streams.closing and time.time() < until:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await watch.changed.wait()
            except TimeoutError:
                yield ": keep-alive\n\n"
                continue
            watch.changed.clear()
            if watch.state and watch.state["status"] in TERMINAL:
                yield "event: ended\ndata: \n\n"
                return
            yield "event: changed\ndata: \n\n"
    finally:
        streams.close(watch)
