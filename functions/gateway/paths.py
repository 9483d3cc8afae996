"""Addresses that say one thing to who chooses by them and another to who is sent them: refused before any choice.

What is passed on is the raw path, byte for byte, and a proxy or a service behind may resolve dot segments, after it has
undone percent-encoding as often as it likes. So the choice of a service must come out the same whatever they do.
"""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from functions._shared.errors import FunctionError, InvalidRequest, NotFound, error_response

DECODINGS = 3
"""How often percent-encoding is undone to look for dot segments: by a proxy, the API gateway behind it, the service."""

DOT_SEGMENT = re.compile(rb"(?:^|[/\\])\s*\.\.?\s*(?:$|[/\\;?#\0])")
"""Also where a backslash counts as a slash (WHATWG URLs, Windows), ``;`` begins parameters (Java), NUL ends (C)."""

UNSENDABLE = re.compile(rb"[^\x21-\x7e]")
"""What RFC 9112 allows in no request line; clients have to percent-encode it."""


class PlainPaths:
    """ASGI middleware: answers what has no plain address. Stands where the address is as it will be passed on."""

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
    """The path as it was sent; a server that does not tell it has to be believed."""
    return bytes(scope.get("raw_path") or scope["path"].encode())


def _refusal(scope: Scope) -> FunctionError | None:
    raw = raw_path_of(scope)
    if UNSENDABLE.search(raw + scope["query_string"]) or b"#" in raw:
        return InvalidRequest("The address has characters that must be percent-encoded")
    if has_dot_segments(raw):
        return InvalidRequest("The path must not have . or .. segments")
    # Starlette chooses by the decoded path: /functions%2fv1/x would be chosen as one thing and sent as another.
    chosen_by = raw.removeprefix(scope.get("root_path", "").encode()).split(b"/", 3)[:3]
    if any(b"%" in segment for segment in chosen_by):
        return NotFound("Not found")
    return None


def has_dot_segments(path: bytes) -> bool:
    """Whether any segment is ``.`` or ``..``, plainly or once percent-encoding is undone.

    ``%252e%252e`` as well: no object or row has such a name, and who decodes twice would climb by it.
    """
    for _ in range(DECODINGS + 1):
        if DOT_SEGMENT.search(path):
            return True
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return False
        path = decoded
    return False
