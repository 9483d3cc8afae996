"""Closed-loop requests over kept-alive connections: raw asyncio protocols on uvloop, no pipelining."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """One HTTP request, sent again and again."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str = ""

    def encoded(self) -> bytes:
        """The request as bytes, Host and Content-Length added."""
        parts = urlsplit(self.url)
        body = self.body.encode()
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {"Host": parts.netloc, **self.headers, "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([f"{self.method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


class ClosedLoop:
    """One call over connections of its own, each of which sends it again once it is answered."""

    def __init__(self, call: Call) -> None:
        self.request = call.encoded()
        self.latencies: list[float] = []
        self.seconds = 0.0
        self.cpu_s = 0.0
        self._address = urlsplit(call.url)
        self._clients: list[_Client] = []

    async def open(self, connections: int) -> None:
        host, port = self._address.hostname or "", self._address.port or 80
        for _ in range(connections):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Client(self.request, self.latencies), host, port
            )
            self._clients.append(client)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    async def run(self, seconds: float) -> None:
        """Keep every connection busy for ``seconds``, then wait for the last answers. Raises RuntimeError."""
        began, used = time.monotonic(), time.process_time()
        await asyncio.gather(*(client.run(began + seconds) for client in self._clients))
        self.seconds += time.monotonic() - began
        self.cpu_s += time.process_time() - used

    def forget(self) -> None:
        """What was measured so far was the warm-up."""
        self.latencies.clear()
        self.seconds = self.cpu_s = 0


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, latencies: list[float]) -> None:
        self._request, self._latencies = request, latencies
        self._ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def run(self, ends_at: float) -> "asyncio.Future[None]":
        """Start; the result is done with the first answer after ``ends_at``."""
        self._ends_at = ends_at
        self._ended = ended = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            self._end(RuntimeError("The server has closed the connection"))
        else:
            self._send()
        return ended

    def close(self) -> None:
        self._ended = None
        self._transport.close()

    def _send(self) -> None:
        self._received = b""
        self._whole: int | None = None
        self._began = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        # A small answer comes in one piece: nothing is copied.
        self._received = self._received + data if self._received else data
        if self._whole is None:
            self._whole = _length(self._received)
        if len(self._received) != self._whole:
            return
        now = time.monotonic()
        self._latencies.append(now - self._began)
        if not self._received.startswith(b"HTTP/1.1 2"):
            self._end(RuntimeError(self._received.decode(errors="replace")))
        elif now < self._ends_at:
            self._send()
        else:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(RuntimeError("The server has closed the connection"))

    def _end(self, error: Exception | None = None) -> None:
        if self._ended is None or self._ended.done():
            return
        if error:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)


def _length(received: bytes) -> int | None:
    """Bytes of the whole response, by its head; None: the head is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = CONTENT_LENGTH.search(received, 0, end)
    return end + 4 + (int(length[1]) if length else 0)
