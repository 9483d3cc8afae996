"""uvicorn's HTTP protocol (httptools), with the bounds of bounds.py and trailers kept apart from headers."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from functions._shared.errors import (
    FunctionError,
    HeadersTooLarge,
    InvalidRequest,
    RequestTimeout,
)
from functions.gateway import bounds
from functions.gateway.envelope import raw_error_response
from functions.gateway.slow_reader import SlowReaderTimeout


class HttpProtocol(SlowReaderTimeout, HttpToolsProtocol):
    """One connection. Its states exclude each other, so one timer serves all of them:

    head        the headers are arriving, or nothing has arrived  HEAD_S, MAX_HEAD_BYTES
    body        the body of a request without a response          BODY_WINDOW_S, BODY_WINDOW_BYTES
    answering   the request is complete, its response is not      no timer: a generation may take ten minutes
    lingering   the response is complete, its request is not      LINGER_S, LINGER_SILENT_S, LINGER_BYTES

    ``cycle`` (uvicorn's) is the request that is being read; with pipelining it waits behind ``_answered``.
    """

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    """Since the last message or its headers ended: all bytes but those of a body."""
    _pipelined = b""
    """Bytes behind a request whose response is under way."""
    _in_body = False
    _window_bytes = 0
    """Of the body, in this window."""
    _last_window_slow = False
    _discarded_bytes = 0
    """Of a body whose response has begun."""
    _answered: RequestResponseCycle | None = None
    """The request whose response is under way."""
    _keep_alive = True
    """Whether the connection may be kept after the message that is being read."""
    _linger_until: float | None = None
    """Set in the state lingering, in the loop's time."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        super().connection_lost(exc)
        if self._answered is not None:
            _disconnect(self._answered)  # uvicorn disconnects ``cycle`` only, which may wait behind
            self._answered.transport = self.transport  # breaks a reference cycle

    def data_received(self, data: bytes) -> None:
        if self._linger_until is not None:
            self._discard(len(data))
            return
        if self._is_answering():
            # Kept from the parser, which would accumulate heads, and bodies that no app reads yet.
            self._pipelined += data
            if len(self._pipelined) > bounds.MAX_HEAD_BYTES:
                self._close()
            return
        self._head_bytes += len(data)
        super().data_received(data)  # on_body subtracts the body's bytes
        self._head_bytes = max(0, self._head_bytes)
        if self._head_bytes > bounds.MAX_HEAD_BYTES:
            part = "trailers" if self._in_body else "headers"
            limit = bounds.MAX_HEAD_BYTES // 1024
            self._refuse(HeadersTooLarge(f"The {part} exceed {limit} KiB"))
        elif self._timer is None:  # a request that came whole, in one read, needs none
            if self._in_body:
                self._begin_body_window()
            elif self._head_bytes:
                self._begin_head()

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110, 6.5.1: a trailer is not merged into the headers. An Authorization trailer would pass a proxy that
        # checks headers only.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is before:
            return  # a websocket handshake: bounded as a head until WebSocketProtocol takes over
        self._end_timer()
        self._head_bytes = self._discarded_bytes = 0
        self._in_body = True
        # An early response, sent before its request has arrived, is the connection's last (Connection: close), so that
        # a client cannot keep it with a body that never ends. on_message_complete restores keep_alive.
        self._keep_alive, cycle.keep_alive = cycle.keep_alive, False
        cycle.transport = ResponseTransport(self)
        if not self.pipeline:
            self._answered = cycle
        if len(self.pipeline) > bounds.MAX_PIPELINED:
            raise ValueError("too many requests at once")  # an exception stops httptools' parser

    def on_body(self, body: bytes) -> None:
        if not self._in_body:
            return  # of a websocket handshake
        self._head_bytes -= len(body)
        self._window_bytes += len(body)
        if not self.cycle.response_started:
            super().on_body(body)
            return
        self._discarded_bytes += len(body)
        if self._discarded_bytes > bounds.LINGER_BYTES:
            self._close()

    def on_chunk_header(self) -> None:
        self._head_bytes -= bounds.CHUNK_FRAME_BYTES

    def on_message_complete(self) -> None:
        if self._in_body:
            self._in_body = False
            self._head_bytes = 0
            self._end_timer()
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keep_alive
        super().on_message_complete()

    # uvicorn's own hooks

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._answered = self.pipeline[-1][0]
        super().on_response_complete()
        if self._linger_until is not None:
            self._unset_keepalive_if_required()
        elif self._pipelined and not self._is_answering() and not self.transport.is_closing():
            pipelined, self._pipelined = self._pipelined, b""
            self.data_received(pipelined)

    def handle_websocket_upgrade(self) -> None:
        if self._is_answering() or self.flow.write_paused:
            self._close()  # the response under way would be interleaved with frames
            return
        self._end_timer()
        self._head_bytes = 0
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this for a parser error."""
        self._refuse(InvalidRequest(msg))

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def shutdown(self) -> None:
        self._keep_alive = False
        if self._linger_until is None:
            super().shutdown()
        else:
            self._close()

    def finish(self, response: "ResponseTransport") -> None:
        """Close after a response: at once, or with a lingering close where the rest of its request is to come."""
        cycle = self.cycle
        if cycle.transport is response and cycle.response_complete and self._in_body:
            self._linger()
        else:
            self._close()

    # States

    def _is_answering(self) -> bool:
        """Whether a complete request waits for the end of its response."""
        cycle = self.cycle
        waits = cycle is not None and not cycle.response_complete and not self._in_body
        return waits or bool(self.pipeline)

    def _begin_head(self) -> None:
        self._timer = self.loop.call_later(bounds.HEAD_S, self._end_head)

    def _end_head(self) -> None:
        if self._head_bytes:
            self._refuse(RequestTimeout("The headers took too long to arrive"))
        else:
            self._close()

    def _begin_body_window(self) -> None:
        self._window_bytes = 0
        self._timer = self.loop.call_later(bounds.BODY_WINDOW_S, self._end_body_window)

    def _end_body_window(self) -> None:
        backpressure = self.flow.read_paused or self.cycle.waiting_for_100_continue
        slow = self._window_bytes < bounds.BODY_WINDOW_BYTES and not backpressure
        if slow and self._last_window_slow:
            self._refuse(RequestTimeout("The body took too long to arrive"))
            return
        self._last_window_slow = slow
        self._begin_body_window()

    def _end_timer(self) -> None:
        self._last_window_slow = False
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: FunctionError) -> None:
        """Send the error where no response has begun, and close."""
        self._end_timer()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not self._in_body or cycle.response_started or self.pipeline:
                self._close()  # the error would be interleaved with the response under way
                return
            _disconnect(cycle)
        self.transport.write(raw_error_response(error))
        self._linger()

    def _linger(self) -> None:
        """Lingering close: end our side (FIN), and discard what arrives until the client ends its own."""
        self._end_timer()
        self._discarded_bytes = 0
        self._linger_until = self.loop.time() + bounds.LINGER_S
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._discard(0)

    def _discard(self, size: int) -> None:
        assert self._linger_until is not None
        self._end_timer()
        self._discarded_bytes += size
        left_s = self._linger_until - self.loop.time()
        if self._discarded_bytes > bounds.LINGER_BYTES or left_s <= 0:
            self._close()
        else:
            silent_s = min(bounds.LINGER_SILENT_S, left_s)
            self._timer = self.loop.call_later(silent_s, self._close)


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Send the request's app http.disconnect."""
    cycle.disconnected = cycle.disconnected or not cycle.response_complete
    cycle.message_event.set()


class ResponseTransport(asyncio.Transport):
    """The transport of one response: its head and what follows at once are one write; a close is HttpProtocol.finish.

    Write coalescing: uvicorn writes head and body apart, which takes two system calls and two packets, and wakes the
    client before there is a body to read. A head with nothing behind it goes at the event loop's next step.
    """

    def __init__(self, protocol: HttpProtocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._head: bytes | None = None
        self._sends_head: asyncio.Handle | None = None

    def write(self, data: Any) -> None:
        if self._sends_head is None:
            self._head = data
            self._sends_head = self._protocol.loop.call_soon(self._send_head)
        elif self._head is None:
            self._protocol.transport.write(data)
        else:
            self._sends_head.cancel()
            head, self._head = self._head, None
            self._protocol.transport.writelines((head, data))

    def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._protocol.transport.write(head)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._send_head()
        self._protocol.finish(self)
