"""The local stack's request line, at INFO: method, path, status, time. A deployment has its proxy's log instead.

Without the query string, which holds tickets and the keys of signed URLs.
"""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions._shared.logs import request_id

log = logging.getLogger(__name__)

MAX_PATH = 200


class RequestLog:
    """ASGI middleware around the whole gateway. A line is written when the response ends, a stream's included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.INFO):
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        status: int | None = None
        name = ""

        async def send_and_note(message: Message) -> None:
            nonlocal status, name
            if message["type"] == "http.response.start":
                status = message["status"]
                name = dict(message.get("headers", ())).get(b"x-request-id", b"").decode("latin-1")
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            token = request_id.set(name)  # as the lines within the request have it
            _log(scope, status, round((time.monotonic() - began) * 1000, 1))
            request_id.reset(token)


def _log(scope: Scope, status: int | None, ms: float) -> None:
    """``status`` None: the client was gone before there was one."""
    path = scope["path"][:MAX_PATH]
    fields = {"method": scope["method"], "path": path, "status": status, "ms": ms}
    log.info(
        "%s %s %s in %.1f ms",
        scope["method"],
        path,
        status or "no answer",
        ms,
        extra={"event": "request", **fields},
    )
