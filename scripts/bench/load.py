"""The load generator: closed-loop requests over kept-alive connections, from a process of its own.

Written here, as wrk is no Python package, and the load generators among the Python packages need several times the
CPU time of the server under test.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast
from urllib.parse import urlsplit

import uvloop

from scripts.bench.children import child_process, percentiles

WARM_UP_S = 0.5
"""Connection pools are opened, and statements prepared, by the first requests."""
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """Throughput and latency of one closed-loop load."""

    name: str
    connections: int
    per_second: float
    p50_ms: float | None = None
    p99_ms: float | None = None


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


def load(calls: Mapping[str, Call], connections: int, seconds: float) -> list[Load]:
    """One row for each of ``calls``, by name, ``seconds`` each.

    They take turns of a second, so that whatever else the machine does meets all of them. Raises EOFError where a
    server refuses a call: its answer is on stderr.
    """
    with child_process(_generate, list(calls.values()), connections, seconds) as pipe:
        runs: list[tuple[list[float], float]] = pipe.recv()
    return [measured(name, connections, *run) for name, run in zip(calls, runs, strict=True)]


def measured(name: str, connections: int, latencies: list[float], seconds: float) -> Load:
    """The row of ``latencies``, in seconds, that were seen within ``seconds``."""
    p50, p99 = percentiles(latencies)
    return Load(name, connections, len(latencies) / seconds, p50 * 1000, p99 * 1000)


def _generate(pipe: Connection, calls: list[Call], connections: int, seconds: float) -> None:
    """Send each call's latencies in seconds, and the time that they took, through ``pipe``."""

    async def main() -> None:
        loads = [ClosedLoop(call) for call in calls]
        for each in loads:
            await each.open(connections)
            await each.run(WARM_UP_S)
            each.latencies.clear()
            each.seconds = 0
        turns = max(1, round(seconds))
        for _ in range(turns):
            for each in loads:
                await each.run(seconds / turns)
        pipe.send([(each.latencies, each.seconds) for each in loads])

    uvloop.run(main())


class ClosedLoop:
    """One call over connections of its own, each of which sends it again once it is answered."""

    def __init__(self, call: Call) -> None:
        self.request = call.encoded()
        self.latencies: list[float] = []
        self.seconds = 0.0
        self._address = urlsplit(call.url)
        self._clients: list[_Client] = []

    async def open(self, connections: int) -> None:
        host, port = self._address.hostname or "", self._address.port or 80
        for _ in range(connections):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Client(self.request, self.latencies), host, port
            )
            self._clients.append(client)

    async def run(self, seconds: float) -> None:
        """Keep every connection busy for ``seconds``, then wait for the last answers. Raises RuntimeError."""
        began = time.monotonic()
        await asyncio.gather(*(client.run(began + seconds) for client in self._clients))
        self.seconds += time.monotonic() - began


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

    def _send(self) -> None:
        self._received = bytearray()
        self._whole: int | None = None
        self._began = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
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


def _length(received: bytearray) -> int | None:
    """Bytes of the whole response, by its head; None: the head is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = CONTENT_LENGTH.search(received, 0, end)
    return end + 4 + (int(length[1]) if length else 0)
