"""One HTTP/1.1 connection: a request sent, its response received, one after another. Errors are httpx's."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import httpx

from functions._shared.http.exchange import Exchange

BUFFERED_BYTES = 256 * 1024
"""Flow control: with so much of a body unread, the socket is not read until it has been."""
_ILLEGAL = re.compile(rb"[\r\n\0]")

Timeouts = Mapping[str, float | None]
"""Seconds: connect, read and write (of each wait), pool. None: no limit."""


class Connection(asyncio.Protocol):
    """``send`` a request, then read ``body`` to its end; ``reusable`` says whether another may follow."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._reader: asyncio.Future[None] | None = None
        """Waited on until something arrives, or the connection ends."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._request_sent = False
        self._paused = False
        """Whether the socket is not read at present: flow control."""
        self._error: httpx.TransportError | None = None
        self.closed = False

    @property
    def reusable(self) -> bool:
        done = self._exchange is None or (self._exchange.may_be_kept and self._request_sent)
        return done and not self.closed

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    async def send(self, request: httpx.Request, timeouts: Timeouts) -> Exchange:
        """Send ``request``; the response once its headers are here. Raises httpx.TransportError."""
        head = _head(request)
        self._exchange = exchange = Exchange(request.method.encode())
        self._request_sent = False
        await self._send(head, request, exchange, timeouts.get("write"))
        while not exchange.has_head:
            await self._more(timeouts.get("read"))
        return exchange

    async def body(self, exchange: Exchange, timeouts: Timeouts) -> AsyncIterator[bytes]:
        """The body's chunks as they arrive, undecoded. Raises httpx.TransportError."""
        while True:
            while exchange.chunks:
                yield exchange.take()
            if exchange.complete:
                return
            if self._paused and not self.closed:
                self._paused = False
                self._transport.resume_reading()
            await self._more(timeouts.get("read"))

    async def _send(
        self, head: bytes, request: httpx.Request, exchange: Exchange, timeout_s: float | None
    ) -> None:
        """An early response (413) ends the sending: the rest of the request has no reader."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        chunked = "content-length" not in request.headers
        self._transport.write(head)
        async for chunk in request.stream:
            if not chunk:
                continue
            self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if not self._writable.is_set():
                async with _limit(timeout_s, httpx.WriteTimeout("the server does not read")):
                    await self._writable.wait()
            if exchange.has_head or self.closed:
                return
        if chunked and "transfer-encoding" in request.headers:
            self._transport.write(b"0\r\n\r\n")
        self._request_sent = True

    async def _more(self, timeout_s: float | None) -> None:
        """Wait until more has arrived, or the connection ends; raises its error where nothing more can arrive."""
        if self._error:
            raise self._error
        self._reader = asyncio.get_running_loop().create_future()
        async with _limit(timeout_s, httpx.ReadTimeout("the server is silent")):
            await self._reader

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or (exchange.complete and not self._error):
            self.close()  # unasked: an answer to a request that was never made, or a notice before closing (408)
            return
        try:
            exchange.feed(data)
        except httpx.TransportError as error:
            self._error = error
            self.close()
        if exchange.buffered > BUFFERED_BYTES and not self._paused and not self.closed:
            self._paused = True
            self._transport.pause_reading()
        if exchange.has_head:
            self._writable.set()  # an early response: nobody may read the rest of the request
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        if self._exchange and not self._error:
            try:
                if exc:
                    raise httpx.ReadError(type(exc).__name__)
                self._exchange.end()
            except httpx.TransportError as error:
                self._error = error
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()


async def connect(
    url: httpx.URL, server_name: str, tls: ssl.SSLContext, timeout_s: float | None
) -> Connection:
    """Raises httpx.ConnectError, httpx.ConnectTimeout. The host's addresses are tried in turn, in equal times."""
    loop = asyncio.get_running_loop()
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    async with _limit(timeout_s, httpx.ConnectTimeout("no connection in time")):
        try:
            found = await loop.getaddrinfo(url.host, port, type=1)  # SOCK_STREAM
            addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
            last: Exception | None = None
            for address in addresses:
                try:
                    async with asyncio.timeout(timeout_s and timeout_s / len(addresses)):
                        _, connection = await loop.create_connection(
                            Connection,
                            address,
                            port,
                            ssl=tls if secure else None,
                            server_hostname=server_name if secure else None,
                        )
                        return connection
                except (OSError, TimeoutError) as error:
                    last = error
            raise last or OSError("no address")
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise httpx.ConnectError(str(error)) from error


@asynccontextmanager
async def _limit(seconds: float | None, error: httpx.TransportError) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise error from None


def _head(request: httpx.Request) -> bytes:
    """The request line and headers. Raises httpx.LocalProtocolError (header injection)."""
    target = request.url.raw_path
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), target)]
    for name, value in request.headers.raw:
        lines.append(b"%b: %b" % (name, value))
    if any(map(_ILLEGAL.search, lines)):
        raise httpx.LocalProtocolError("a header holds a line break")
    return b"\r\n".join(lines) + b"\r\n\r\n"
