"""CORS on every answer, errors included, and preflights answered without a token.

Not Starlette's middleware: that one answers only requests with an Origin header, while clients of the platform are
used to the headers on each answer, and to any OPTIONS being a preflight.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED_HEADERS = "authorization, x-client-info, apikey, content-type"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"


class CORS:
    """ASGI middleware; outermost, so that no error leaves without its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Access-Control-Allow-Origin"] = "*"
                headers["Access-Control-Expose-Headers"] = "*"
            await send(message)

        if scope["method"] == "OPTIONS":
            # The request's own list is echoed: "*" never covers authorization.
            asked = Headers(scope=scope).get("access-control-request-headers", ALLOWED_HEADERS)
            preflight = PlainTextResponse(
                "ok",
                headers={
                    "Access-Control-Allow-Headers": asked,
                    "Access-Control-Allow-Methods": ALLOWED_METHODS,
                    "Access-Control-Max-Age": "86400",
                },
            )
            await preflight(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)
