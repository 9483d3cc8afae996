"""The rest of Supabase behind the gateway's address: what comes for it is passed on, and its answers are passed back.

Bodies stream both ways, so that uploads and downloads of any size pass through without being held. Nothing is repeated.
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
from functions.gateway.proxies import FOR, HOST, PROTO, is_about_the_way, values_of, way_of

log = logging.getLogger(__name__)

SERVICES = ("auth", "rest", "storage", "graphql", "realtime")
CONNECT_S = 5.0
CLOSE_S = 1.0
"""How long a websocket's other side may take to answer its end: one that floods never reads it."""
SILENT_S = 300.0
"""How long the other side may send nothing; a websocket any time."""
PATIENCE = httpx.Timeout(SILENT_S, connect=CONNECT_S)
OF_ONE_CONNECTION = frozenset(
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
"""What RFC 9110 has each connection settle for itself."""
OF_THE_HANDSHAKE = b"sec-websocket-"
NEVER_BACK = b"x-relay-error"
"""Clients would throw the answer away."""
USUAL, GONE, FAILED = 1000, 1001, 1011
UNSENDABLE = {1005: USUAL, 1006: FAILED, 1015: FAILED}
"""What stands for an end without a code; no frame may hold it."""

Headers = list[tuple[bytes, bytes]]


class Connect(connect):
    """Follows no redirect, as the client for HTTP does not: who asked is told, and the credentials stay here."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Upstream:
    """An ASGI app for everything below ``/auth/v1``, ``/rest/v1`` and so on."""

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
            headers=_asked_with(scope),
            content=request.stream() if _has_body(scope["headers"]) else None,
            # httpx's own URL would be spelled anew.
            extensions={"target": self._target(scope), "timeout": PATIENCE.as_dict()},
        )
        began = False
        try:
            response = await self._transport.handle_async_request(outgoing)
            try:
                headers = _passed_on(response.headers.raw, {NEVER_BACK})
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
            return  # in the middle of its body; nobody is there to answer
        except httpx.HTTPError as error:
            log.warning("upstream: %s", type(error).__name__)
            if began:  # the client has to see that this is not all of it
                raise
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
            await send({"type": "websocket.close", "code": FAILED})

    @asynccontextmanager
    async def _connected(self, scope: Scope) -> AsyncIterator[ClientConnection]:
        scheme = "wss" if self._base.scheme == "https" else "ws"
        headers = [
            (key.decode("latin-1"), value.decode("latin-1"))
            for key, value in _asked_with(scope)
            if not key.startswith(OF_THE_HANDSHAKE) and key not in {b"origin", b"user-agent"}
        ]

        def as_it_came(protocol: ClientProtocol, **options: Any) -> ClientConnection:
            # parse_uri has lost some of it, such as the parameters behind a ";".
            path, _, query = self._target(scope).decode("ascii").partition("?")
            protocol.uri = dataclasses.replace(protocol.uri, path=path, query=query)
            return ClientConnection(protocol, **options)

        async with Connect(
            str(self._base.copy_with(scheme=scheme)),
            subprotocols=scope["subprotocols"] or None,
            additional_headers=headers,
            create_connection=as_it_came,  # type: ignore[arg-type]  # it is called, no more
            compression=None,  # what passes through is not unfolded
            open_timeout=CONNECT_S,
            close_timeout=CLOSE_S,
            ping_interval=None,  # the two ends have heartbeats of their own
            max_size=None,
            proxy=None,
        ) as remote:
            yield remote

    def _target(self, scope: Scope) -> bytes:
        """The same path and query, byte by byte: signed addresses would not survive being spelled anew.

        But for a ``?`` with nothing behind it, which ASGI does not tell of.
        """
        query = scope["query_string"]
        path = self._base.raw_path.rstrip(b"/") + raw_path_of(scope)
        return path + b"?" + query if query else path


@asynccontextmanager
async def open_upstream(settings: Settings) -> AsyncIterator[Upstream | None]:
    """None where SUPABASE_UPSTREAM_URL is not set.

    Over a transport, not httpx's client: that keeps cookies, and reads each Location, so that one it cannot read would
    end in an error, where it is the caller's to judge. The environment's proxies count all the same.
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
    """Frames as they come, until one side ends; then the other's end too."""

    async def to_remote() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await remote.send(message["bytes"] if text is None else text)
        code = message.get("code") or GONE
        await remote.close(UNSENDABLE.get(code, code))

    async def to_client() -> None:
        try:
            async for frame in remote:
                kind = "text" if isinstance(frame, str) else "bytes"
                await send({"type": "websocket.send", kind: frame})
        except ConnectionClosed:
            pass  # any end but the usual two
        code = UNSENDABLE.get(remote.close_code or FAILED, remote.close_code or FAILED)
        closed: Message = {"type": "websocket.close", "code": code}
        await send({**closed, "reason": remote.close_reason or ""})

    ways = [asyncio.create_task(to_remote()), asyncio.create_task(to_client())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            try:
                way.result()
            except (ConnectionClosed, OSError):  # OSError: the client's side is gone
                pass  # the other way tells its side
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _passed_on(headers: Iterable[tuple[bytes, bytes]], without: set[bytes]) -> Headers:
    pairs = [(bytes(key).lower(), bytes(value)) for key, value in headers]
    named = {
        name.strip()
        for key, value in pairs
        if key == b"connection"
        for name in value.lower().split(b",")
    }
    left_out = OF_ONE_CONNECTION | named | without
    return [(key, value) for key, value in pairs if key not in left_out]


def _asked_with(scope: Scope) -> Headers:
    """The request's headers, and who asked: what came of that, in one line, and the one that reached us.

    Of what else there is about the way, a client's own word is left out: only a trusted proxy's is passed on.
    """
    way = way_of(scope)

    def told(name: bytes) -> bytes:
        return b"".join(values_of(scope, name)[-1:]) if way.trusted else b""

    by = [*(line.strip(b", \t") for line in values_of(scope, FOR)), way.peer.encode()]
    about = {
        FOR: b", ".join(one for one in by if one),
        PROTO: told(PROTO) or scope["scheme"].encode(),
        HOST: told(HOST) or b"".join(values_of(scope, b"host")[:1]),
    }
    kept = [
        (key, value)
        for key, value in _passed_on(scope["headers"], {b"host", *about})
        if way.trusted or not is_about_the_way(key)
    ]
    return [*kept, *((key, value) for key, value in about.items() if value)]


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    given = dict(headers)
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"
