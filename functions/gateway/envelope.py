"""What every answer carries, errors included: CORS, a request id, and what keeps browsers from guessing.

Preflights are answered here, without a token. Not Starlette's middleware: that one answers only requests with an Origin
header, while clients of the platform are used to the headers on each answer, and to any OPTIONS being a preflight.
"""

import re
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions._shared.logs import request_id
from functions._shared.settings import Settings
from functions.gateway.cors import TO_ANY_PAGE, added, for_pages

ALLOWED_HEADERS = "authorization, x-client-info, apikey, content-type"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
SAFE = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
ALWAYS = (*TO_ANY_PAGE, *SAFE)
"""For refusals of what is no request yet, and names no page."""
ID_HEADERS = (b"sb-request-id", b"x-request-id")
_PLAIN_ID = re.compile(rb"[\w.:-]{1,100}")


class Envelope:
    """ASGI middleware; outermost, so that no error leaves without its headers. What an app sets itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = _name(scope)
        token = request_id.set(name.decode())
        settings: Settings = scope["state"]["resources"].settings
        ours = (*SAFE, *((key, name) for key in ID_HEADERS))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = added(message.get("headers", []), ours)
                message["headers"] = for_pages(headers, _origin(scope), settings.cors_origins)
            await send(message)

        try:
            app = self._preflight(scope) if scope["method"] == "OPTIONS" else self.app
            await app(scope, receive, send_with_headers)
        finally:
            request_id.reset(token)

    def _preflight(self, scope: Scope) -> ASGIApp:
        # The request's own list is echoed: "*" never covers authorization.
        asked = Headers(scope=scope).get("access-control-request-headers", ALLOWED_HEADERS)
        return PlainTextResponse(
            "ok",
            headers={
                "Access-Control-Allow-Headers": asked,
                "Access-Control-Allow-Methods": ALLOWED_METHODS,
                "Access-Control-Max-Age": "86400",
            },
        )


def _name(scope: Scope) -> bytes:
    """The caller's own id for the request, where it is harmless in a log; else a new one."""
    for key, value in scope["headers"]:
        if key in ID_HEADERS and _PLAIN_ID.fullmatch(value):
            return bytes(value)
    return str(uuid4()).encode()


def _origin(scope: Scope) -> bytes:
    origins = [bytes(value) for key, value in scope["headers"] if key == b"origin"]
    return origins[0] if len(origins) == 1 else b""
