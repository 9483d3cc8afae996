"""The connections of one HTTP client: kept alive for the next request, bounded in number.

Keep-alive: the connection that was used last is used next, and only that one is looked at; the event loop has closed
one that its server has closed.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from types import TracebackType
from urllib.request import getproxies

import httpx

from functions._shared.http.connection import Connection, Timeouts, connect
from functions._shared.http.exchange import Exchange

KEPT = 64
"""Idle connections, those of all hosts together."""
KEPT_S = 4.0
"""How long an idle one is used again; servers close theirs after 5 s or more."""

Origin = tuple[str, str, int | None, str]
"""Scheme, host, port and the name in the certificate, which differs from the host where an address is pinned."""


def client(tls: ssl.SSLContext, timeout: httpx.Timeout, most: int) -> httpx.AsyncClient:
    """A client of at most ``most`` connections, without redirects; through httpx's own transport behind a proxy."""
    if getproxies().keys() - {"no"}:
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=8)
        return httpx.AsyncClient(verify=tls, timeout=timeout, limits=limits)
    return httpx.AsyncClient(transport=Transport(tls, most), timeout=timeout)


class Transport(httpx.AsyncBaseTransport):
    """``most``: connections in use at a time; further requests wait for one (httpx.PoolTimeout)."""

    def __init__(self, tls: ssl.SSLContext, most: int) -> None:
        self._tls = tls
        self._room = asyncio.Semaphore(most)
        self._idle: list[tuple[Origin, float, Connection]] = []
        """Oldest first, with the time since when."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts: Timeouts = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(timeouts.get("pool")):
                await self._room.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("all connections are in use") from None
        server_name = request.extensions.get("sni_hostname") or request.url.host
        origin = (request.url.scheme, request.url.host, request.url.port, server_name)
        connection = None
        try:
            connection = self._kept(origin) or await connect(
                request.url, server_name, self._tls, timeouts.get("connect")
            )
            exchange = await connection.send(request, timeouts)
        except BaseException:
            self.release(origin, connection, keep=False)
            raise
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=_Body(self, origin, connection, exchange, timeouts),
        )

    def release(self, origin: Origin, connection: Connection | None, *, keep: bool) -> None:
        """Give a connection back after its response; ``keep`` false closes it, as does one that cannot be reused."""
        self._room.release()
        if connection is None:
            return
        if not keep or not connection.reusable:
            connection.close()
            return
        self._idle.append((origin, time.monotonic(), connection))
        self._close_old()

    async def aclose(self) -> None:
        for _, _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    def _kept(self, origin: Origin) -> Connection | None:
        """The idle connection to ``origin`` that was used last, if one is alive."""
        self._close_old()
        for at in range(len(self._idle) - 1, -1, -1):
            if self._idle[at][0] == origin:
                connection = self._idle.pop(at)[2]
                if connection.reusable:
                    return connection
        return None

    def _close_old(self) -> None:
        too_old = time.monotonic() - KEPT_S
        while self._idle and (len(self._idle) > KEPT or self._idle[0][1] < too_old):
            self._idle.pop(0)[2].close()


class _Body(httpx.AsyncByteStream):
    """A response's body; ``aclose`` gives its connection back, or closes it where the body was not read to its end."""

    def __init__(
        self,
        transport: Transport,
        origin: Origin,
        connection: Connection,
        exchange: Exchange,
        timeouts: Timeouts,
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._connection = connection
        self._exchange = exchange
        self._timeouts = timeouts
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._connection.body(self._exchange, self._timeouts):
            yield chunk

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._transport.release(self._origin, self._connection, keep=self._exchange.complete)
