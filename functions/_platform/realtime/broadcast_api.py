"""Broadcast without a websocket: ``POST /api/broadcast``, and ``…/<topic>/events/<event>`` for one message."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.realtime.access import Access, Refused, access_of
from functions._platform.realtime.authorization import may_write
from functions._platform.realtime.frames import UserBroadcast, loads
from functions._platform.realtime.shared import Realtime

OCTETS = "application/octet-stream"
TYPES = frozenset({"", "application/json", OCTETS})
TOO_MANY = "Too many messages to broadcast, please reduce the batch size"


async def broadcast(request: Request) -> Response:
    """A batch. A private topic that the caller may not write to is passed over, as by Supabase."""
    return await _answered(request, _batch)


async def broadcast_one(request: Request) -> Response:
    """The body is the payload: JSON, or bytes. ``?private=true``."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in TYPES:
        error = f"Unsupported Media Type. Use application/json or {OCTETS}"
        return JSONResponse({"error": error}, 415)
    return await _answered(request, _one)


async def _answered(
    request: Request, handle: Callable[[Request, Realtime, Access, bytes], Awaitable[Response]]
) -> Response:
    """Authentication, the limit of the body, and a database that is away."""
    realtime: Realtime = request.state.realtime
    token = _token(request)
    if not token:
        return JSONResponse({"message": "Unauthorized"}, 401)
    try:
        access = await access_of(realtime.auth, request, token)
    except Refused as refusal:
        return JSONResponse({"message": str(refusal)}, refusal.status)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > realtime.settings.realtime_max_payload_kb * 1024:
            return JSONResponse({"error": "Payload too large"}, 413)
    try:
        return await handle(request, realtime, access, bytes(body))
    except psycopg.OperationalError:
        return JSONResponse(
            {"message": "Realtime was unable to connect to the project database"}, 503
        )


def _token(request: Request) -> str:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    apikey = request.headers.get("apikey", "")
    token = bearer.strip() if scheme.lower() == "bearer" else ""
    return apikey if apikey and (not token or token.startswith("sb_")) else token


async def _batch(_: Request, realtime: Realtime, access: Access, body: bytes) -> Response:
    try:
        messages = _messages(loads(body.decode()))
    except (ValueError, RecursionError):
        return JSONResponse({"errors": {"messages": ["is invalid"]}}, 422)
    if len(messages) > realtime.settings.realtime_max_events_per_second:
        return JSONResponse({"message": TOO_MANY}, 429)
    private = {message["topic"] for message in messages if message.get("private") is True}
    writable = {
        topic for topic in private if await may_write(realtime.pool, access, topic, "broadcast")
    }
    for message in messages:
        topic, is_private = message["topic"], message.get("private") is True
        if not is_private or topic in writable:
            sent = {"type": "broadcast", "event": message["event"], "payload": message["payload"]}
            realtime.broadcast(topic, is_private, sent)
    return Response(status_code=202)


def _messages(body: Any) -> list[Mapping[str, Any]]:
    messages = body.get("messages") if isinstance(body, Mapping) else None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise ValueError
    return messages


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, Mapping)
        and isinstance(message.get("topic"), str)
        and isinstance(message.get("event"), str)
        and "payload" in message
    )


async def _one(request: Request, realtime: Realtime, access: Access, body: bytes) -> Response:
    topic, event = request.path_params["topic"], request.path_params["event"]
    is_private = request.query_params.get("private") == "true"
    is_json = not request.headers.get("content-type", "").startswith(OCTETS)
    try:
        if is_json:
            loads(body.decode())
    except (ValueError, RecursionError):
        return JSONResponse({"errors": {"payload": ["is invalid"]}}, 422)
    if is_private and not await may_write(realtime.pool, access, topic, "broadcast"):
        return JSONResponse({"message": "Unauthorized"}, 403)
    realtime.broadcast(topic, is_private, UserBroadcast(event, is_json, body))
    return Response(status_code=202)
