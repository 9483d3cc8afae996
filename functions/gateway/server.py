"""uvicorn's settings, the same wherever the gateway is served, and the bounds on a connection that it lacks.

Whatever a client sends is one of three things: a head, the body of a request that is still to be answered, or nothing
anybody waits for. The first and the last are counted and timed in every state of the connection; of the second the app
that reads it knows the size, and the connection only sees that it goes on.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from functions._shared.errors import (
    FunctionError,
    HeadersTooLarge,
    InvalidRequest,
    RequestTimeout,
    error_response,
)
from functions.gateway.envelope import ALWAYS

MAX_HEAD_BYTES = 64 * 1024
"""Beyond it, and what one read brings, no request line, headers, trailers or chunk extensions are read on; nor what
comes behind a request before that has its answer (pipelining)."""

MAX_PIPELINED = 16
"""Whole requests that one read may bring behind the one that is being answered; each takes some kilobytes."""

CHUNK_FRAME_BYTES = 20
"""Of a chunk's size and line ends: so much belongs to its body, what is more is an extension."""

HEAD_S = 20.0
"""From a connection's first byte to the end of the headers, and how long a new connection may say nothing."""

BODY_WINDOW_S = 10.0
BODY_WINDOW_BYTES = 2048
"""What has to come of a body in each such time, by some 200 bytes a second (Kestrel asks for 240). Who falls short
twice running is hung up on (slow POST, R.U.D.Y.); time in which nobody here reads does not count."""

LINGER_S = 10.0
LINGER_SILENT_S = 3.0
LINGER_BYTES = 16 * 1024 * 1024
"""How much of a request is read on and dropped once it has its answer (a lingering close): clients send a body
before they read, and one that is hung up on at once would find a reset connection in the answer's place."""

UNREAD_S = 300.0
"""How long a client may not read what is meant for it, before its connection is cut (slow read)."""

KEEP_ALIVE_S = 130
"""Longer than proxies keep an idle connection (Caddy: two minutes), so that none sends a request into one that is
being closed."""


class Unread(asyncio.Protocol):
    """Mixed into a protocol of uvicorn's: who does not read for too long is cut off, flushed or not."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():  # the rest has to be read as well
            self._forget_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_reader()
        super().connection_lost(exc)

    def _wait_for_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def _forget_reader(self) -> None:
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def _close(self) -> None:
        """Close when all is written, which is never where nobody reads."""
        self.transport.close()
        self._wait_for_reader()


class BoundedSocket(Unread, WebSocketsSansIOProtocol):
    """uvicorn's websocket, which would answer pings for ever to one who does not read the answers, and keep a handshake
    that ``websockets`` cannot read (a body, a line above 8 KiB) open without a word.
    """

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc and not self.handshake_initiated:
            self.transport.write(_spelled(InvalidRequest("Invalid websocket handshake.")))
            self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await super().receive()  # which resumes reading
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        # After a refusal with a body uvicorn would log an error, and write a second answer.
        self.handshake_complete = self.handshake_complete or self.close_sent


class BoundedProtocol(Unread, HttpToolsProtocol):
    """uvicorn's, which would wait for ever, keep whatever has come, and take trailers for headers.

    One timer, as the states exclude each other: a head, the body of a wanted request, the end of an answered one.
    While an answer is under way and its request is whole there is none: it takes as long as it takes.
    """

    _timer: asyncio.TimerHandle | None = None
    _spent = 0
    """Bytes since the last message or its headers ended that are no wanted body."""
    _ahead = b""
    """What has come behind a request that is being answered."""
    _in_body = False
    _body_bytes = 0
    """In this window."""
    _slow_before = False
    _unwanted = 0
    """Bytes of a body whose answer had begun."""
    _running: RequestResponseCycle | None = None
    """The request that is being answered; ``cycle`` is the one that is being read."""
    _keep_alive = True
    """Whether the connection may go on behind the message that is being read."""
    _lingers_until: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        super().connection_lost(exc)
        if self._running is not None:
            _disconnect(
                self._running
            )  # uvicorn tells only the newest, which may be waiting behind it
            self._running.transport = self.transport  # or the two hold each other

    def data_received(self, data: bytes) -> None:
        if self._lingers_until is not None:
            self._drop(len(data))
            return
        if self._answering():
            # Not into the parser: it would build up heads, and bodies that nobody reads yet.
            self._ahead += data
            if len(self._ahead) > MAX_HEAD_BYTES:
                self._close()
            return
        if self._timer is None and not self._in_body:
            self._begin_head()
        self._spent += len(data)
        super().data_received(data)
        self._spent = max(0, self._spent)
        if self._spent > MAX_HEAD_BYTES:
            part = "trailers" if self._in_body else "headers"
            self._refuse(HeadersTooLarge(f"The {part} exceed {MAX_HEAD_BYTES // 1024} KiB"))
        elif self._in_body and self._timer is None:
            self._begin_body_window()

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110, 6.5.1: a trailer is no header. Authorization would come in by it behind a proxy's back.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is before:
            return  # a websocket's handshake: the bounds of a head go on until it has taken over
        self._end_timer()
        self._spent = self._unwanted = 0
        self._in_body = True
        # While the rest of a request is to come, an answer has to be the connection's last.
        self._keep_alive, cycle.keep_alive = cycle.keep_alive, False
        cycle.transport = AnswerTransport(self)
        if not self.pipeline:
            self._running = cycle
        if len(self.pipeline) > MAX_PIPELINED:
            raise ValueError("too many requests at once")  # httptools stops at any exception

    def on_body(self, body: bytes) -> None:
        if not self._in_body:
            return  # of a handshake
        self._spent -= len(body)
        self._body_bytes += len(body)
        if not self.cycle.response_started:
            super().on_body(body)
            return
        self._unwanted += len(body)
        if self._unwanted > LINGER_BYTES:
            self._close()

    def on_chunk_header(self) -> None:
        """httptools calls this for each chunk of a body."""
        self._spent -= CHUNK_FRAME_BYTES

    def on_message_complete(self) -> None:
        if self._in_body:
            self._in_body = False
            self._spent = 0
            self._end_timer()
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keep_alive
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()
        if self._lingers_until is not None:
            self._unset_keepalive_if_required()
        elif self._ahead and not self._answering() and not self.transport.is_closing():
            ahead, self._ahead = self._ahead, b""
            self.data_received(ahead)

    def handle_websocket_upgrade(self) -> None:
        if self._answering() or self.flow.write_paused:
            self._close()  # the answer under way would be written between the frames
            return
        self._end_timer()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is no HTTP."""
        self._refuse(InvalidRequest(msg))

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def shutdown(self) -> None:
        self._keep_alive = False
        if self._lingers_until is None:
            super().shutdown()
        else:
            self._close()

    def finish(self, answer: "AnswerTransport") -> None:
        """Close behind an answer: at once, or when the rest of its request has come."""
        cycle = self.cycle
        if cycle.transport is answer and cycle.response_complete and self._in_body:
            self._linger()
        else:
            self._close()

    def _answering(self) -> bool:
        """Whether a request that is whole waits for the end of its answer."""
        cycle = self.cycle
        waits = cycle is not None and not cycle.response_complete and not self._in_body
        return waits or bool(self.pipeline)

    def _begin_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._late)

    def _late(self) -> None:
        if self._spent:
            self._refuse(RequestTimeout("The headers took too long to arrive"))
        else:
            self._close()

    def _begin_body_window(self) -> None:
        self._body_bytes = 0
        self._timer = self.loop.call_later(BODY_WINDOW_S, self._end_body_window)

    def _end_body_window(self) -> None:
        unread = self.flow.read_paused or self.cycle.waiting_for_100_continue
        slow = self._body_bytes < BODY_WINDOW_BYTES and not unread
        if slow and self._slow_before:
            self._refuse(RequestTimeout("The body took too long to arrive"))
            return
        self._slow_before = slow
        self._begin_body_window()

    def _end_timer(self) -> None:
        self._slow_before = False
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: FunctionError) -> None:
        """Answer what has no answer yet, and hang up."""
        self._end_timer()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not self._in_body or cycle.response_started or self.pipeline:
                self._close()  # between the bytes of another answer there is no place for this one
                return
            _disconnect(cycle)
        self.transport.write(_spelled(error))
        self._linger()

    def _linger(self) -> None:
        """All is said: end our side, and drop what still comes until the client ends its own."""
        self._end_timer()
        self._unwanted = 0
        self._lingers_until = self.loop.time() + LINGER_S
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._drop(0)

    def _drop(self, size: int) -> None:
        assert self._lingers_until is not None
        self._end_timer()
        self._unwanted += size
        left_s = self._lingers_until - self.loop.time()
        if self._unwanted > LINGER_BYTES or left_s <= 0:
            self._close()
        else:
            self._timer = self.loop.call_later(min(LINGER_SILENT_S, left_s), self._close)


def _spelled(error: FunctionError) -> bytes:
    """The answer to what did not become a request, the connection's last."""
    answer = error_response(error)
    headers = [*answer.raw_headers, *ALWAYS, (b"connection", b"close")]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return STATUS_LINE[error.status] + lines + b"\r\n" + bytes(answer.body)


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the request's app that its client is gone."""
    cycle.disconnected = cycle.disconnected or not cycle.response_complete
    cycle.message_event.set()


class AnswerTransport(asyncio.Transport):
    """The connection as one answer sees it: its end is the protocol's to decide."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: Any) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.finish(self)


UVICORN: dict[str, Any] = {
    "loop": "uvloop",
    "http": BoundedProtocol,
    "ws": BoundedSocket,
    # One read of 256 KiB may unfold to as many MiB (a decompression bomb), before anybody is asked for a key.
    "ws_per_message_deflate": False,
    # Our log set-up, not uvicorn's; the access log would hold what apps put into query strings.
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,  # proxies.py reads them
    "timeout_keep_alive": KEEP_ALIVE_S,
}
