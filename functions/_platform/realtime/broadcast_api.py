"""POST /api/broadcast: messages to topics without a websocket."""

from collections.abc import Mapping
from typing import Any

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.realtime.access import Access, Refused, access_of
from functions._platform.realtime.authorization import may_write
from functions._platform.realtime.shared import Realtime


async def broadcast(request: Request) -> Response:
    """202 without a body. A private topic that the caller may not write to is passed over, as by Supabase."""
    realtime: Realtime = request.state.realtime
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    apikey = request.headers.get("apikey", "")
    token = bearer.strip() if scheme.lower() == "bearer" else ""
    token = apikey if apikey and (not token or token.startswith("sb_")) else token
    if not token:
        return JSONResponse({"message": "Unauthorized"}, 401)
    try:
        access = await access_of(realtime.auth, request, token)
    except Refused as refusal:
        return JSONResponse({"message": str(refusal)}, refusal.status)
    body = await request.body()
    if len(body) > realtime.settings.realtime_max_payload_kb * 1024:
        return JSONResponse({"error": "Payload too large"}, 413)
    try:
        messages = _messages(await request.json())
    except (ValueError, RecursionError):
        return JSONResponse({"errors": {"messages": ["is invalid"]}}, 422)
    try:
        for message in messages:
            await _send(realtime, access, message)
    except psycopg.OperationalError:
        return JSONResponse(
            {"message": "Realtime was unable to connect to the project database"}, 503
        )
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


async def _send(realtime: Realtime, access: Access, message: Mapping[str, Any]) -> None:
    topic, is_private = message["topic"], message.get("private") is True
    if is_private and not await may_write(realtime.pool, access, topic, "broadcast"):
        return
    sent = {"type": "broadcast", "event": message["event"], "payload": message["payload"]}
    realtime.broadcast(topic, is_private, sent)
