"""Who asks, where proxies stand between: the address that the last proxy of ours has seen.

X-Forwarded-For grows at its end: each proxy adds whom it was reached by. Only what trusted ones (TRUSTED_PROXIES) have
added is known; what stands before it is whatever the client wrote. So the list is read from its end, and the first
address that is no trusted proxy's is the client's. Taking the first of the list, as uvicorn does where it trusts
everybody (Kludex/uvicorn#931), lets anybody choose his address.
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from functions._shared.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_PROXIES = 32
"""Entries that are looked at, from the end of the list: there may be thousands, and no chain of proxies is so long."""
MAX_ENTRY = 64
"""Bytes of an address with its brackets and port."""
FOR, PROTO, HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
OF_PROXIES = frozenset(
    {b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"}
)
SCHEMES = {
    b"http": ("http", "ws"),
    b"https": ("https", "wss"),
    b"ws": ("http", "ws"),
    b"wss": ("https", "wss"),
}


@dataclass(frozen=True)
class Way:
    """How a request came here. ``peer`` is the other end of the connection, "" if that has no address that we know.

    ``trusted``: it is a proxy of ours, and what it says about the client holds.
    """

    peer: str
    trusted: bool


class TrustedProxies:
    """ASGI middleware: ``client`` and ``scheme`` of the scope become the client's own; ``way_of`` says the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            settings: Settings = scope["state"]["resources"].settings
            scope = {**scope, **_seen_through(scope, settings)}
        await self.app(scope, receive, send)


def way_of(scope: Scope) -> Way:
    """The way of a request that came through ``TrustedProxies``."""
    way: Way = scope["picture_edge.way"]
    return way


def values_of(scope: Scope, name: bytes) -> list[bytes]:
    """Of all lines of a header, in their order."""
    return [bytes(value).strip() for key, value in scope["headers"] if key == name]


def is_about_the_way(name: bytes) -> bool:
    """Whether a header is a proxy's word about the client, and nobody else's."""
    return name.startswith(b"x-forwarded-") or name in OF_PROXIES


def is_unix(scope: Scope) -> bool:
    """Whether the request came over a UNIX socket, which only programs of this machine reach."""
    _, port = scope.get("server") or ("", None)
    return port is None


def _seen_through(scope: Scope, settings: Settings) -> Scope:
    """What of the scope is different for who looks through the trusted proxies."""
    networks = settings.trusted_proxies

    def ours(address: Address) -> bool:
        return any(address in network for network in networks)

    host, port = scope.get("client") or ("", None)
    peer = parse_address(host.encode())
    # No connection has port 0: uvicorn, started by hand, believed a proxy that it trusts, and put an address of the
    # list in the peer's place.
    replaced = port == 0
    if not (replaced or is_unix(scope) or (peer and ours(peer))):
        direct = (str(peer), port) if peer else scope.get("client")
        return {"client": direct, "picture_edge.way": Way(_text(peer), trusted=False)}
    client = _client(values_of(scope, FOR), ours) or peer
    return {
        "client": (str(client), port if client == peer else 0) if client else None,
        "scheme": _scheme(scope),
        "picture_edge.way": Way("" if replaced else _text(peer), trusted=True),
    }


def _text(address: Address | None) -> str:
    return str(address) if address else ""


def _client(lines: Iterable[bytes], ours: Callable[[Address], bool]) -> Address | None:
    """The last address that is not one of ours; else the first of those; None where there is none at all."""
    seen: Address | None = None
    for entry in reversed(b",".join(lines).rsplit(b",", MAX_PROXIES)[-MAX_PROXIES:]):
        if not entry.strip():
            continue
        address = parse_address(entry)
        if (
            address is None
        ):  # "unknown", or nonsense: the proxy that wrote it knows no more, and nor do we
            break
        seen = address
        if not ours(address):
            break
    return seen


def parse_address(entry: bytes) -> Address | None:
    """Of ``1.2.3.4``, ``1.2.3.4:5``, ``::1``, ``[::1]:5`` and so on; IPv4 within IPv6 is IPv4."""
    text = entry[: MAX_ENTRY + 1].strip().decode("latin-1")
    if len(text) > MAX_ENTRY:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if address.version == 6 else None) or address


def _scheme(scope: Scope) -> str:
    """Of X-Forwarded-Proto, the last that was said, if it is one."""
    said = b",".join(values_of(scope, PROTO)).rpartition(b",")[2].strip().lower()
    http, ws = SCHEMES.get(said, (scope["scheme"],) * 2)
    return ws if scope["type"] == "websocket" else http
