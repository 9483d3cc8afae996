"""uvicorn's settings, the same wherever the gateway is served, and the bounds on a request's head that it lacks."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from functions._shared.envelope import ALWAYS
from functions._shared.errors import (
    FunctionError,
    HeadersTooLarge,
    RequestTimeout,
    error_response,
)

MAX_HEAD_BYTES = 64 * 1024
"""Beyond it a request line and headers that have not ended are not read on."""

HEAD_S = 20.0
"""From a connection's first byte to the end of the headers, and how long a new connection may say nothing."""

KEEP_ALIVE_S = 75
"""Longer than proxies keep an idle connection, so that none sends a request into one that is being closed."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, which would wait for a head for ever and keep however much of it has come."""

    _in_body = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        # A body that was refused may still come: only after it there can be another head.
        if answered and not self._in_body and self._head_timer is None:
            self._begin_head()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadersTooLarge(f"The headers exceed {MAX_HEAD_BYTES // 1024} KiB"))

    def on_headers_complete(self) -> None:
        self._end_head()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _begin_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_S, self._late)

    def _end_head(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        if self._head_bytes:
            self._refuse(RequestTimeout("The headers took too long to arrive"))
        else:
            self.transport.close()

    def _refuse(self, error: FunctionError) -> None:
        """Answer what has no request yet, and hang up."""
        self._end_head()
        if self.transport.is_closing():
            return
        answer = error_response(error)
        headers = [*answer.raw_headers, *ALWAYS, (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + bytes(answer.body))
        self.transport.close()


UVICORN: dict[str, Any] = {
    "loop": "uvloop",
    "http": BoundedProtocol,
    "ws": "websockets-sansio",
    # Our log set-up, not uvicorn's; the access log would hold what apps put into query strings.
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,  # proxies.py reads them
    "timeout_keep_alive": KEEP_ALIVE_S,
}
