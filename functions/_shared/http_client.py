"""HTTP client: httpx's API and errors over aiohttp's connection pool and C parser.

httpx's own transport (httpcore, anyio, h11) is Python down to the socket: 4 ms of CPU time a stored picture. The
difference between "never sent" (connect, pool) and "sent, outcome unknown" (all else) is the promise of this module:
a prediction is created again after the first only.
"""

import asyncio
import select
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.request import getproxies
from weakref import WeakSet

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

MOST = 100
"""Concurrent requests of one client; others wait (PoolTimeout)."""
KEPT_S = 4.0
"""Idle connections are closed after that: before the 5 s of uvicorn and Node, so that a server seldom closes first."""
PIECE_BYTES = 128 * 1024
"""Bodies above are written in pieces: aiohttp would copy and buffer a body of bytes whole, without a write time-out."""
BUFFER_BYTES = 64 * 1024
"""Backpressure: received and not yet read are twice as many bytes at most."""
MAX_HEADER_BYTES = 16 * 1024
"""Of one header of a response; 128 of them at most. Content-Security-Policy is longer than aiohttp's 8 KiB at times."""
ERRORS = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),  # DNS, TCP, TLS
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError), httpx.UnsupportedProtocol),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),  # closed without an answer
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),  # cut short
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),  # malformed
    (aiohttp.ClientError, httpx.ReadError),  # after the connection was made: reset …
    (ValueError, httpx.LocalProtocolError),  # a line break in a header
    (TimeoutError, httpx.WriteTimeout),  # ours
)
"""aiohttp's error → httpx's, the first that fits."""


def make_client(tls: ssl.SSLContext, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client with a connection pool of its own; no redirects. Behind a proxy (HTTP_PROXY …) httpx's own transport."""
    if getproxies().keys() & {"http", "https", "all"}:
        limits = httpx.Limits(max_connections=MOST, max_keepalive_connections=8)
        return httpx.AsyncClient(verify=tls, timeout=timeout, limits=limits)
    return httpx.AsyncClient(transport=Transport(tls), timeout=timeout)


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1; keeps no cookies, decodes nothing. To be made in the event loop that it is used in."""

    def __init__(self, tls: ssl.SSLContext, most: int = MOST) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                ssl=tls,
                limit=0,  # ours: aiohttp has one time-out for waiting and connecting
                keepalive_timeout=KEPT_S,
                use_dns_cache=False,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # byte bounds are the readers'
            skip_auto_headers=("Content-Type",),
            read_bufsize=BUFFER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        self._free = asyncio.Semaphore(most)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        await self._take_place(timeouts.get("pool"))
        try:
            answer = await self._send(request, timeouts)
        except BaseException:
            self._free.release()
            raise
        if answer.connection is None:  # all is received, the connection back in the pool
            self._free.release()
        else:
            answer.connection.add_callback(self._free.release)
        return httpx.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=_Answer(answer),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (answer.reason or "").encode("ascii", "ignore"),
            },
        )

    async def aclose(self) -> None:
        await self._session.close()

    async def _take_place(self, timeout_s: float | None) -> None:
        """Raises PoolTimeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._free.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("all connections are in use") from None

    async def _send(
        self, request: httpx.Request, timeouts: dict[str, float | None]
    ) -> aiohttp.ClientResponse:
        """The response, its body still to come. Raises httpx.TransportError; what the iterator of a body raises."""
        upload = _Upload(request, timeouts.get("write"))
        try:
            async with asyncio.timeout(None) as upload.stalled:
                return await self._session.request(
                    request.method,
                    _address(request.url),
                    headers=_headers(request),
                    data=upload.data,
                    allow_redirects=False,
                    server_hostname=request.extensions.get("sni_hostname"),
                    timeout=aiohttp.ClientTimeout(
                        connect=timeouts.get("connect"), sock_read=timeouts.get("read")
                    ),
                )
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise upload.failure or _translated(error) from None
        finally:
            upload.stalled = None


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool, its kept connections looked at before they are used again: a POST is not sent into one that its
    server has closed, and bytes after a response (response splitting) do not answer the next request.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used = WeakSet[asyncio.BaseProtocol]()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None
            if protocol not in self._used:
                self._used.add(protocol)
                return connection
            if not (protocol.should_close or _is_readable(connection.transport)):
                return connection
            connection.close()


class _Upload:
    """A request's body. ``data``: what aiohttp is given: None, bytes, or this: an iterable of pieces."""

    def __init__(self, request: httpx.Request, piece_s: float | None) -> None:
        try:
            self._body: bytes | httpx.AsyncByteStream = request.content
        except httpx.RequestNotRead:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            self._body = request.stream
        small = isinstance(self._body, bytes) and len(self._body) <= PIECE_BYTES
        self.data = (self._body or None) if small else self
        self._piece_s = piece_s
        self.stalled: asyncio.Timeout | None = None
        """Write time-out: expires where a piece is not taken in time. None while nobody waits for it."""
        self.failure: Exception | None = None
        """What the body's iterator has raised; aiohttp does not pass it on."""

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        try:
            async for part in self._parts():
                for at in range(0, len(part), PIECE_BYTES):
                    self._expect(self._piece_s)
                    yield memoryview(part)[at : at + PIECE_BYTES]
                    self._expect(None)
        except Exception as error:
            self.failure = error
            raise

    async def _parts(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
            return
        async for part in self._body:
            yield part

    def _expect(self, within_s: float | None) -> None:
        if self.stalled:
            now = asyncio.get_running_loop().time()
            self.stalled.reschedule(None if within_s is None else now + within_s)


class _Answer(httpx.AsyncByteStream):
    """A response's body as received. ``aclose`` before its end closes the connection."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        framed = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
        connection = None if framed else answer.connection
        self._until_closed = connection.protocol if connection else None
        """The connection whose end is the body's: aiohttp takes a reset (RST) for the end, too."""
        if self._until_closed is not None:
            self._until_closed.force_close()  # in the pool its error would be cleared

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_any():
                yield chunk
        except aiohttp.ClientError as error:
            raise _translated(error) from None
        if self._until_closed is not None and isinstance(self._until_closed.exception(), OSError):
            raise httpx.ReadError("the connection was reset")

    async def aclose(self) -> None:
        self._answer.close()


def _address(url: httpx.URL) -> URL:
    """Byte for byte (``encoded``): a signed URL must not be quoted anew. Without credentials: they are in a header."""
    return URL(f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode()}", encoded=True)


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """Without Transfer-Encoding, which aiohttp sets itself."""
    return [
        (name.decode(), value.decode())
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"
    ]


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Whether an idle connection has received something, its end included. True without a connection."""
    if transport is None:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _translated(error: Exception) -> httpx.TransportError:
    """Names the class only: aiohttp's texts hold the URL, which may be signed."""
    for theirs, ours in ERRORS:
        if isinstance(error, theirs):
            return ours(type(error).__name__)
    raise error
