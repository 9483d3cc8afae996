"""The headers of every response, errors included: CORS, a request id, nosniff. CORS preflights are answered here.

Not Starlette's CORSMiddleware: it adds headers only to requests with an Origin, while Supabase sends them with every
response, and answers any OPTIONS as a preflight. A service whose OPTIONS means more (PostgREST's Allow, a tus server's
capabilities) has its own.
"""

import re
from collections.abc import Mapping
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from functions._shared.errors import FunctionError, error_response
from functions._shared.logs import request_id
from functions._shared.settings import Settings
from functions.gateway.cors import TO_ANY_PAGE, added, for_pages

ALLOWED_HEADERS = "authorization, x-client-info, apikey, content-type"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
SAFE = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
ID_HEADERS = (b"sb-request-id", b"x-request-id")
_PLAIN_ID = re.compile(rb"[\w.:-]{1,100}")
"""No spaces or line ends: the id is logged as it is (log injection)."""


class Envelope:
    """ASGI middleware, the outermost: the other middleware's errors need its headers too. An app's own headers stay."""

    def __init__(self, app: ASGIApp, own_options: Mapping[str, str | None]) -> None:
        """``own_options``: service → the path below it from which on it answers OPTIONS, where SERVE names it."""
        self.app = app
        self._own_options = own_options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own_id = _request_id(scope)
        token = request_id.set(own_id.decode())
        settings: Settings = scope["state"]["resources"].settings
        ours = (*SAFE, *((key, own_id) for key in ID_HEADERS))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = added(message.get("headers", []), ours)
                message["headers"] = for_pages(headers, _origin(scope), settings.cors_origins)
            await send(message)

        try:
            is_ours = scope["method"] == "OPTIONS" and not self._has_own(scope["path"], settings)
            app = self._preflight(scope) if is_ours else self.app
            await app(scope, receive, send_with_headers)
        finally:
            request_id.reset(token)

    def _has_own(self, path: str, settings: Settings) -> bool:
        service = path.split("/", 2)[1]
        own = self._own_options.get(service)
        return (
            own is not None and path.startswith(f"/{service}/v1{own}") and service in settings.serve
        )

    def _preflight(self, scope: Scope) -> ASGIApp:
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


def _request_id(scope: Scope) -> bytes:
    """The client's own id for the request where it is plain, else a new one."""
    for key, value in scope["headers"]:
        if key in ID_HEADERS and _PLAIN_ID.fullmatch(value):
            return bytes(value)
    return str(uuid4()).encode()


def _origin(scope: Scope) -> bytes:
    origins = [bytes(value) for key, value in scope["headers"] if key == b"origin"]
    return origins[0] if len(origins) == 1 else b""
