"""Reverse proxy to the Supabase project at SUPABASE_UPSTREAM_URL, for HTTP and websockets.

Bodies are streamed both ways with backpressure, never buffered as a whole. Requests are never retried: they may not be
idempotent.
"""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from functions._shared.errors import BadGateway, error_response
from functions._shared.settings import Settings
from functions.gateway.paths import raw_path_of
from functions.gateway.proxies import FOR, HOST, PROTO, is_forwarding_header, peer_of, values_of

log = logging.getLogger(__name__)

SERVICES = ("auth", "rest", "storage", "graphql", "realtime")
CONNECT_S = 5.0
CLOSE_S = 1.0
"""How long the upstream may take to answer a websocket's close frame: a flooding upstream never reads it."""
SILENT_S = 300.0
"""Read time-out of HTTP; a websocket has none."""
TIMEOUT = httpx.Timeout(SILENT_S, connect=CONNECT_S)
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Hop-by-hop headers (RFC 9110, 7.6.1): they concern one connection, and are not forwarded."""
HANDSHAKE_HEADERS = b"sec-websocket-"
"""Prefix of the headers that the websocket client sets for its own handshake."""
RELAY_ERROR = b"x-relay-error"
"""Not passed back: supabase-js takes a response with it for a failed relay, and drops the body."""
NORMAL, GOING_AWAY, INTERNAL_ERROR = 1000, 1001, 1011
RESERVED_CODES = {1005: NORMAL, 1006: INTERNAL_ERROR, 1015: INTERNAL_ERROR}
"""Close codes that no frame may hold (RFC 6455, 7.4.1), and the code that is sent in their place."""

Headers = list[tuple[bytes, bytes]]


class Connect(connect):
    """A websocket client that follows no redirect: it would carry the caller's credentials to another host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Upstream:
    """The reverse proxy as an ASGI app: paths below ``/auth/v1``, ``/rest/v1`` …, and unknown functions."""

    def __init__(self, base: str, transport: httpx.AsyncHTTPTransport) -> None:
        self._base = httpx.URL(base.rstrip("/"))
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passing = self._websocket if scope["type"] == "websocket" else self._request
        await passing(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        outgoing = httpx.Request(
            scope["method"],
            self._base,
            headers=_request_headers(scope),
            content=request.stream() if _has_body(scope["headers"]) else None,
            # The raw target: httpx would normalise the URL.
            extensions={"target": self._target(scope), "timeout": TIMEOUT.as_dict()},
        )
        began = False
        try:
            response = await self._transport.handle_async_request(outgoing)
            try:
                headers = _passed_on(response.headers.raw, {RELAY_ERROR})
                start = {"type": "http.response.start", "status": response.status_code}
                await send({**start, "headers": headers})
                began = True
                async for chunk in response.aiter_raw():
                    if await request.is_disconnected():
                        return
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await response.aclose()
        except ClientDisconnect:
            return  # during its body: there is no client to answer
        except httpx.HTTPError as error:
            log.warning("upstream: %s", type(error).__name__)
            if began:
                raise  # the connection is cut: the client must see a truncated response
            refusal = BadGateway("The project's Supabase does not answer at the moment")
            await error_response(refusal)(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            async with self._connected(scope) as remote:
                await send({"type": "websocket.accept", "subprotocol": remote.subprotocol})
                await _both_ways(remote, receive, send)
        except InvalidStatus as refused:
            response = refused.response
            headers = [(b"content-type", b"application/json")]
            await send(
                {
                    "type": "websocket.http.response.start",
                    "status": response.status_code,
                    "headers": headers,
                }
            )
            await send(
                {"type": "websocket.http.response.body", "body": bytes(response.body or b"")}
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            log.warning("upstream: %s", type(error).__name__)
            await send({"type": "websocket.close", "code": INTERNAL_ERROR})

    @asynccontextmanager
    async def _connected(self, scope: Scope) -> AsyncIterator[ClientConnection]:
        scheme = "wss" if self._base.scheme == "https" else "ws"
        headers = [
            (key.decode("latin-1"), value.decode("latin-1"))
            for key, value in _request_headers(scope)
            if not key.startswith(HANDSHAKE_HEADERS) and key not in {b"origin", b"user-agent"}
        ]

        def with_raw_target(protocol: ClientProtocol, **options: Any) -> ClientConnection:
            # websockets' parse_uri drops the parameters behind a ";".
            path, _, query = self._target(scope).decode("ascii").partition("?")
            protocol.uri = dataclasses.replace(protocol.uri, path=path, query=query)
            return ClientConnection(protocol, **options)

        async with Connect(
            str(self._base.copy_with(scheme=scheme)),
            subprotocols=scope["subprotocols"] or None,
            additional_headers=headers,
            create_connection=with_raw_target,  # type: ignore[arg-type]  # typed as a class
            compression=None,  # frames pass through as they are (decompression bomb)
            open_timeout=CONNECT_S,
            close_timeout=CLOSE_S,
            ping_interval=None,  # client and upstream have heartbeats of their own
            max_size=None,
            proxy=None,
        ) as remote:
            yield remote

    def _target(self, scope: Scope) -> bytes:
        """The path and query byte for byte: a normalised one would break signed URLs.

        Only an empty query is lost: ASGI does not distinguish ``/path?`` from ``/path``.
        """
        query = scope["query_string"]
        path = self._base.raw_path.rstrip(b"/") + raw_path_of(scope)
        return path + b"?" + query if query else path


@asynccontextmanager
async def open_upstream(settings: Settings) -> AsyncIterator[Upstream | None]:
    """The upstream; None where SUPABASE_UPSTREAM_URL is not set.

    Uses httpx's transport, not its client: the client keeps cookies, which would leak from one caller to another, and
    fails at a Location it cannot parse. HTTP_PROXY and NO_PROXY are honoured here instead.
    """
    base = settings.supabase_upstream_url
    if base is None:
        yield None
        return
    proxy = None if proxy_bypass(str(base.host)) else getproxies().get(base.scheme)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncHTTPTransport(limits=limits, proxy=proxy) as transport:
        yield Upstream(str(base), transport)


async def _both_ways(remote: ClientConnection, receive: Receive, send: Send) -> None:
    """Relay frames until one side closes, then close the other with the same code and reason."""

    async def to_remote() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await remote.send(message["bytes"] if text is None else text)
        code = message.get("code") or GOING_AWAY
        await remote.close(RESERVED_CODES.get(code, code))

    async def to_client() -> None:
        try:
            async for frame in remote:
                kind = "text" if isinstance(frame, str) else "bytes"
                await send({"type": "websocket.send", kind: frame})
        except ConnectionClosed:
            pass  # closed with another code than 1000 or 1001; it is passed on below
        code = remote.close_code or INTERNAL_ERROR
        closed: Message = {"type": "websocket.close", "code": RESERVED_CODES.get(code, code)}
        await send({**closed, "reason": remote.close_reason or ""})

    ways = [asyncio.create_task(to_remote()), asyncio.create_task(to_client())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            try:
                way.result()
            except (ConnectionClosed, OSError):  # OSError: the client has disconnected
                pass  # the other direction closes its side
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _passed_on(headers: Iterable[tuple[bytes, bytes]], without: set[bytes]) -> Headers:
    """End-to-end headers: all but the hop-by-hop ones, those that Connection names, and ``without``."""
    pairs = [(bytes(key).lower(), bytes(value)) for key, value in headers]
    named = {
        name.strip()
        for key, value in pairs
        if key == b"connection"
        for name in value.lower().split(b",")
    }
    left_out = HOP_BY_HOP | named | without
    return [(key, value) for key, value in pairs if key not in left_out]


def _request_headers(scope: Scope) -> Headers:
    """The request's end-to-end headers, with X-Forwarded-For (the peer appended), -Proto and -Host.

    Forwarding headers that the client has set itself are dropped (spoofing); those of a trusted proxy are passed on.
    """
    peer = peer_of(scope)

    def from_proxy(name: bytes) -> bytes:
        return b"".join(values_of(scope, name)[-1:]) if peer.trusted else b""

    chain = [*(line.strip(b", \t") for line in values_of(scope, FOR)), peer.address.encode()]
    forwarding = {
        FOR: b", ".join(entry for entry in chain if entry),
        PROTO: from_proxy(PROTO) or scope["scheme"].encode(),
        HOST: from_proxy(HOST) or b"".join(values_of(scope, b"host")[:1]),
    }
    kept = [
        (key, value)
        for key, value in _passed_on(scope["headers"], {b"host", *forwarding})
        if peer.trusted or not is_forwarding_header(key)
    ]
    return [*kept, *((key, value) for key, value in forwarding.items() if value)]


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    given = dict(headers)
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"
