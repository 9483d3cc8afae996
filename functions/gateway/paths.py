"""Path traversal and path confusion: refuse a path that the gateway and an upstream could read as two different ones.

The raw path is forwarded byte for byte. A proxy or service behind may decode percent-encoding, any number of times, and
then resolve dot segments; the route chosen here must be right for each of these readings.
"""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from functions._shared.errors import FunctionError, InvalidRequest, NotFound, error_response

DECODINGS = 3
"""Levels of percent-encoding that are checked (double encoding): one each for a proxy, an API gateway, the service."""

DOT_SEGMENT = re.compile(rb"(?:^|[/\\])\s*\.\.?\s*(?:$|[/\\;?#\0])")
"""A dot segment by any reading: backslash as slash (WHATWG URLs, Windows), ``;`` before parameters (Java), NUL (C)."""

UNSENDABLE = re.compile(rb"[^\x21-\x7e]")
"""Bytes that RFC 9112 allows in no request line: clients must percent-encode them."""


class PlainPaths:
    """ASGI middleware: 400 or 404 for an ambiguous path. Innermost: it must see the path that is forwarded."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["type"] == "lifespan" else _refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await error_response(refusal)(scope, receive, send)


def raw_path_of(scope: Scope) -> bytes:
    """The path as the client sent it; the decoded one where the server gives no raw_path (optional in ASGI)."""
    return bytes(scope.get("raw_path") or scope["path"].encode())


def _refusal(scope: Scope) -> FunctionError | None:
    raw = raw_path_of(scope)
    if UNSENDABLE.search(raw + scope["query_string"]) or b"#" in raw:
        return InvalidRequest("The address has characters that must be percent-encoded")
    if has_dot_segments(raw):
        return InvalidRequest("The path must not have . or .. segments")
    # Starlette routes by the decoded path: /functions%2fv1/x would be routed as one path and forwarded as another.
    routed_by = raw.removeprefix(scope.get("root_path", "").encode()).split(b"/", 3)[:3]
    if any(b"%" in segment for segment in routed_by):
        return NotFound("Not found")
    return None


def has_dot_segments(path: bytes) -> bool:
    """Whether any segment is ``.`` or ``..``, as it is or percent-decoded up to DECODINGS times.

    Double encoding (``%252e%252e``) counts: a service that decodes twice would climb, and no object has such a name.
    """
    for _ in range(DECODINGS + 1):
        if DOT_SEGMENT.search(path):
            return True
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return False
        path = decoded
    return False
