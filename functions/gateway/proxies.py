"""Trusted proxies: the client's address from X-Forwarded-For, safe from spoofing.

Each proxy appends the address of its peer, so only the entries that trusted proxies (TRUSTED_PROXIES) have appended are
reliable; the client can write anything before them. The list is therefore read from its end: the first address that is
no trusted proxy is the client's. uvicorn, where it trusts all proxies, takes the first entry (Kludex/uvicorn#931): a
client could choose its address.
"""

import ipaddress
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_PROXIES = 32
"""Entries that are parsed, from the end: a client can send thousands, and no chain of proxies is so long."""
MAX_ENTRY = 64
"""Bytes of an entry: an address with its brackets and port."""
FOR, PROTO, HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
FORWARDING_HEADERS = frozenset(
    {b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"}
)
SCHEMES = {
    b"http": ("http", "ws"),
    b"https": ("https", "wss"),
    b"ws": ("http", "ws"),
    b"wss": ("https", "wss"),
}


@dataclass(frozen=True)
class Peer:
    """The other end of the connection; ``address`` is "" where it is unknown (a UNIX socket).

    ``trusted``: it is a trusted proxy, whose forwarding headers are reliable.
    """

    address: str
    trusted: bool


class TrustedProxies:
    """Makes a scope's ``client`` and ``scheme`` the client's own; ``peer_of`` has the proxy."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        # Parsing and comparing cost more than all else here, and the same peers come back.
        self._peer = lru_cache(maxsize=1024)(self._seen)

    def __call__(self, scope: Scope, names: Container[bytes]) -> None:
        """``names``: those of the headers that the request has."""
        host, port = scope.get("client") or ("", None)
        address, peer = self._peer(host)
        # Port 0 means that uvicorn, started by hand with proxy_headers, has replaced the peer by an entry of the list.
        replaced = port == 0
        if not (replaced or peer.trusted or is_unix(scope)):
            scope["client"] = (peer.address, port) if address else scope.get("client")
            scope["picture_edge.peer"] = peer
            return
        client = _client(values_of(scope, FOR), self._is_ours) if FOR in names else None
        if client is None or client == address:
            scope["client"] = (peer.address, port) if address else None
        else:
            scope["client"] = (str(client), 0)
        if PROTO in names:
            scope["scheme"] = _scheme(scope)
        scope["picture_edge.peer"] = Peer("" if replaced else peer.address, trusted=True)

    def _seen(self, host: str) -> tuple[Address | None, Peer]:
        address = parse_address(host.encode())
        trusted = address is not None and self._is_ours(address)
        return address, Peer(str(address) if address else "", trusted)

    def _is_ours(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def peer_of(scope: Scope) -> Peer:
    """The peer of a request that passed ``TrustedProxies``."""
    peer: Peer = scope["picture_edge.peer"]
    return peer


def values_of(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all lines of a header, in their order."""
    return [bytes(value).strip() for key, value in scope["headers"] if key == name]


def is_forwarding_header(name: bytes) -> bool:
    """Whether only a proxy may set a header: it describes the client's connection."""
    return name.startswith(b"x-forwarded-") or name in FORWARDING_HEADERS


def is_unix(scope: Scope) -> bool:
    """Whether the request came over a UNIX socket, which only processes of this machine can reach."""
    _, port = scope.get("server") or ("", None)
    return port is None


def _client(lines: Iterable[bytes], ours: Callable[[Address], bool]) -> Address | None:
    """The last address that is no trusted proxy's; else the first of the trusted ones; None for an empty list."""
    seen: Address | None = None
    for entry in reversed(b",".join(lines).rsplit(b",", MAX_PROXIES)[-MAX_PROXIES:]):
        if not entry.strip():
            continue
        address = parse_address(entry)
        if address is None:  # "unknown" or malformed: the entries before it are unreliable
            break
        seen = address
        if not ours(address):
            break
    return seen


def parse_address(entry: bytes) -> Address | None:
    """The address of ``1.2.3.4``, ``1.2.3.4:5``, ``::1``, ``[::1]:5``; an IPv4-mapped IPv6 address becomes IPv4."""
    text = entry[: MAX_ENTRY + 1].strip().decode("latin-1")
    if len(text) > MAX_ENTRY:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _address(text.partition("%")[0])


@lru_cache(maxsize=1024)  # the same clients come back
def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if address.version == 6 else None) or address


def _scheme(scope: Scope) -> str:
    """The last entry of X-Forwarded-Proto if it is a scheme, else the connection's own."""
    last = b",".join(values_of(scope, PROTO)).rpartition(b",")[2].strip().lower()
    http, ws = SCHEMES.get(last, (scope["scheme"],) * 2)
    return ws if scope["type"] == "websocket" else http
