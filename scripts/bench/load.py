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


def load(name: str, call: Call, connections: int, seconds: float) -> Load:
    """The rate and the latencies of ``call``. Raises EOFError where the server refuses one: its answer is on stderr."""
    with child_process(_generate, call, connections, seconds) as pipe:
        latencies: list[float] = pipe.recv()
    return measured(name, connections, latencies, seconds)


def measured(name: str, connections: int, latencies: list[float], seconds: float) -> Load:
    """The row of ``latencies``, in seconds, that were seen within ``seconds``."""
    p50, p99 = percentiles(latencies)
    return Load(name, connections, len(latencies) / seconds, p50 * 1000, p99 * 1000)


def _generate(pipe: Connection, call: Call, connections: int, seconds: float) -> None:
    """Send the list of latencies in seconds through ``pipe``."""
    parts, request = urlsplit(call.url), call.encoded()
    latencies: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        refused: asyncio.Future[None] = loop.create_future()

        class Client(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.Transport, transport)
                self.send()

            def send(self) -> None:
                self.received = b""
                self.began = time.monotonic()
                self.transport.write(request)

            def data_received(self, data: bytes) -> None:
                self.received += data
                if not self.received.startswith(b"HTTP/1.1 2") and not refused.done():
                    refused.set_exception(RuntimeError(self.received.decode(errors="replace")))
                if _is_complete(self.received):
                    latencies.append(time.monotonic() - self.began)
                    self.send()

        clients = [
            await loop.create_connection(Client, parts.hostname or "", parts.port or 80)
            for _ in range(connections)
        ]
        await asyncio.sleep(0.5)  # warm-up: connection pools are opened by the first requests
        latencies.clear()
        await asyncio.wait([refused], timeout=seconds)
        if refused.done():
            refused.result()
        pipe.send(list(latencies))
        for transport, _ in clients:
            transport.close()

    uvloop.run(main())


def _is_complete(received: bytes) -> bool:
    """Whether all of a response is there: head and body may arrive in separate segments."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return bool(end) and len(body) == (int(length[1]) if length else 0)
