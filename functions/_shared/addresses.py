"""Where a request to an address that somebody else chose may go: resolved once, public only, and then held to."""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

import httpx

from functions._shared.errors import InvalidRequest

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """One request: ``url`` has the address in place of the name; ``headers`` and ``extensions`` ask for the name."""

    url: httpx.URL
    headers: dict[str, str]
    extensions: dict[str, str]


def parse(url: str) -> httpx.URL:
    """A plain http(s) URL. Raises InvalidRequest."""
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise InvalidRequest("The address is not a valid URL") from None
    if target.scheme not in {"http", "https"} or not target.host or target.userinfo:
        raise InvalidRequest("The address must be a plain http(s) URL")
    return target


async def pinned(url: httpx.URL) -> Target:
    """``url``'s host resolved, once, to a public address. Raises InvalidRequest."""
    address = await _public_address(url.host, url.port or (443 if url.scheme == "https" else 80))
    return Target(
        url=url.copy_with(host=address),
        headers={"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.host},
    )


def as_is(url: httpx.URL) -> Target:
    """For a host that our own settings name."""
    return Target(url=url, headers={}, extensions={})


def is_public(address: Address) -> bool:
    """Whether it is on the public internet, an IPv4 address inside an IPv6 one too."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        # Older ways to carry an IPv4 address, which nobody serves pictures by.
        if address.sixtofour or address.teredo or address in IPV4_COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def _public_address(host: str, port: int) -> str:
    """One address of ``host``, all of which must be public: a name that mixes both is a trap."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InvalidRequest(f"The address: unknown host {host}") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise InvalidRequest("The address: the host is not on the public internet")
    return str(addresses[0])
