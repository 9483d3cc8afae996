"""The headers of every response, errors included: CORS, a request id, nosniff. CORS preflights are answered here.

Not Starlette's CORSMiddleware: it adds headers only to requests with an Origin, while Supabase sends them with every
response, and answers any OPTIONS as a preflight. A service whose OPTIONS means more (PostgREST's Allow, a tus server's
capabilities) has its own.
"""

import os
import re
import time
from collections.abc import Container

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from functions._shared import tracing
from functions._shared.errors import FunctionError, error_response
from functions._shared.metrics.recording import request_answered
from functions.gateway.cors import TO_ANY_PAGE, for_pages

ALLOWED_HEADERS = "authorization, x-client-info, apikey, content-type"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
SAFE = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
ID_HEADERS = (b"sb-request-id", b"x-request-id")
_PLAIN_ID = re.compile(rb"[\w.:-]{1,100}")
"""No spaces or line ends: the id is logged as it is (log injection)."""


class Envelope:
    """The ``send`` of one request. An app's own headers stay."""

    def __init__(
        self, send: Send, scope: Scope, names: Container[bytes], origins: frozenset[str]
    ) -> None:
        """``names``: those of the request's headers. ``origins``: the setting CORS_ORIGINS."""
        self.id = _request_id(scope, names)
        self.has_begun = False
        """Whether a part of the response was sent."""
        self.function = "other"
        """What answers, one of a few names, for /metrics."""
        self._method: str = scope["method"]
        self._began = time.perf_counter()
        self._send = send
        self._origins = origins
        self._origin = _origin(scope) if b"origin" in names else b""

    async def send(self, message: Message) -> None:
        self.has_begun = True
        if message["type"] == "http.response.start":
            ids = [(key, self.id) for key in ID_HEADERS]
            headers = message.get("headers", ())
            message["headers"] = for_pages(headers, (*SAFE, *ids), self._origin, self._origins)
            seconds = time.perf_counter() - self._began
            request_answered(self.function, self._method, message["status"], seconds)
            tracing.answered(self.function, self._method, message["status"])
        await self._send(message)


def preflight(scope: Scope) -> Response:
    # The requested list is echoed: in Access-Control-Allow-Headers "*" does not cover authorization.
    asked = Headers(scope=scope).get("access-control-request-headers", ALLOWED_HEADERS)
    return PlainTextResponse(
        "ok",
        headers={
            "Access-Control-Allow-Headers": asked,
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Max-Age": "86400",
        },
    )


def raw_error_response(error: FunctionError) -> bytes:
    """The bytes of an error response to data that never became an ASGI request, so passed no middleware."""
    response = error_response(error)
    headers = [*response.raw_headers, *TO_ANY_PAGE, *SAFE, (b"connection", b"close")]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return STATUS_LINE[error.status] + lines + b"\r\n" + bytes(response.body)


def _request_id(scope: Scope, names: Container[bytes]) -> bytes:
    """The client's own id for the request where it is plain, else a new one."""
    if any(name in names for name in ID_HEADERS):
        for key, value in scope["headers"]:
            if key in ID_HEADERS and _PLAIN_ID.fullmatch(value):
                return bytes(value)
    # The text of a UUIDv4, as Supabase's ids are, without the object: 1.2 µs instead of 2.
    hex_ = os.urandom(16).hex()
    return f"{hex_[:8]}-{hex_[8:12]}-4{hex_[13:16]}-a{hex_[17:20]}-{hex_[20:]}".encode()


def _origin(scope: Scope) -> bytes:
    origins = [bytes(value) for key, value in scope["headers"] if key == b"origin"]
    return origins[0] if len(origins) == 1 else b""
