"""The ASGI app of /realtime/v1, and what it opens at start."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from functions._platform.realtime.access import Refused, access_of
from functions._platform.realtime.broadcast_api import broadcast, broadcast_one
from functions._platform.realtime.buffers import Buffers
from functions._platform.realtime.changes.feed import Feed
from functions._platform.realtime.connection import Connection
from functions._platform.realtime.frames import V1, V2
from functions._platform.realtime.hub import Hub
from functions._platform.realtime.peers import Peers
from functions._platform.realtime.rates import Rate
from functions._platform.realtime.shared import Realtime
from functions._shared.database.pool import make_pool
from functions._shared.resources import Resources

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_realtime(resources: Resources) -> AsyncIterator[Realtime]:
    """A pool of its own (bulkhead), the feed of changes, and the other processes."""
    settings = resources.settings
    pool = make_pool(settings, min_size=0)
    await pool.open(wait=False)
    hub, feed = Hub(), Feed(settings, pool)
    peers = Peers(settings, pool, hub)
    supervise = resources.supervisor.running
    try:
        async with supervise("changes of rows", feed.run), supervise("other processes", peers.run):
            try:
                yield Realtime(
                    settings,
                    pool,
                    resources.auth,
                    hub,
                    feed,
                    Rate(settings.realtime_max_joins_per_second),
                    peers,
                    Buffers(settings.realtime_max_total_buffer_mb * 1024 * 1024),
                )
            finally:
                await peers.leave()
    finally:
        await pool.close()


async def websocket(websocket: WebSocket) -> None:
    """The handshake: the key is in the query (browsers send no headers), and is never logged."""
    realtime: Realtime = websocket.state.realtime
    token = websocket.headers.get("x-api-key") or websocket.query_params.get("apikey")
    if not token:
        return await _denied(websocket, 401, "API key is missing")
    try:
        access = await access_of(realtime.auth, websocket, token)
    except Refused as refusal:
        text = str(refusal)
        expired = text.startswith("Token has expired")
        return await _denied(websocket, refusal.status, "Token has expired" if expired else text)
    if realtime.hub.connections >= realtime.settings.realtime_max_concurrent_users:
        return await _denied(websocket, 429, "Too many connected users")
    version = V2 if websocket.query_params.get("vsn") == V2 else V1
    realtime.hub.connections += 1
    try:
        await websocket.accept()
        await Connection(realtime, websocket, version, access, token).run()
    finally:
        realtime.hub.connections -= 1
    return None


async def _denied(websocket: WebSocket, status: int, error: str) -> None:
    await websocket.send_denial_response(JSONResponse({"error": error}, status))


app = Starlette(
    routes=[
        WebSocketRoute("/websocket", websocket),
        Route("/api/broadcast", broadcast, methods=["POST"]),
        Route("/api/broadcast/{topic:path}/events/{event:path}", broadcast_one, methods=["POST"]),
    ]
)
