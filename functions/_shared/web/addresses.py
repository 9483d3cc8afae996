"""SSRF protection for untrusted URLs: public addresses only, DNS pinning, one canonical spelling.

DNS pinning: the name is resolved once, checked, and the connection goes to that address, so that a second answer
cannot lead elsewhere (DNS rebinding). Canonical spelling: the host is checked and requested in its ASCII form
(A-labels), as two libraries may map one Unicode name to two hosts.
"""

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass

import httpx

from functions._shared.errors import InvalidRequest
from functions._shared.settings import Settings
from functions._shared.web.special_addresses import (
    IPV6_GLOBAL_UNICAST,
    NAT64,
    SPECIAL_IPV4,
    SPECIAL_IPV6,
)

MAX_HOST = 253
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """A pinned request: ``url`` has the IP address for a host; ``headers`` (Host) and ``extensions`` (SNI) the name."""

    url: httpx.URL
    headers: dict[str, str]
    extensions: dict[str, str]


def parse(url: str, relative_to: httpx.URL | None = None) -> httpx.URL:
    """``url`` parsed: http(s), without credentials, with a valid host and port. Raises InvalidRequest otherwise.

    ``relative_to``: the URL whose redirect it is.
    """
    try:
        target = relative_to.join(url) if relative_to else httpx.URL(url)
        for label in host_of(target).split("."):
            if label.startswith(
                "xn--"
            ):  # httpx decodes A-labels lazily, and would raise idna's error later
                httpx.URL(f"https://{label}/").host  # noqa: B018
    except (httpx.InvalidURL, ValueError):  # IDNAError is a ValueError
        raise InvalidRequest("The address is not a valid URL") from None
    if target.scheme not in {"http", "https"} or not target.raw_host or target.userinfo:
        raise InvalidRequest("The address must be a plain http(s) URL")
    if target.port is not None and not 1 <= target.port <= 65535:
        raise InvalidRequest("The address has a port that there is not")
    if literal(target) is None and not _is_name(host_of(target)):
        raise InvalidRequest("The address has a host that there cannot be")
    return target


def host_of(url: httpx.URL) -> str:
    """The host in ASCII (A-labels); an IPv6 address without brackets."""
    return url.raw_host.decode("ascii")


def literal(url: httpx.URL) -> Address | None:
    """The host as an IP address; None where it is a name."""
    try:
        address = ipaddress.ip_address(host_of(url))
    except ValueError:
        return None
    # A zone (fe80::1%eth0) names an interface of this machine.
    return None if isinstance(address, ipaddress.IPv6Address) and address.scope_id else address


def _is_name(host: str) -> bool:
    """Whether ``host`` is a valid DNS name. A numeric last label spells an IPv4 address: 2130706433, 0x7f.1."""
    labels = host.removesuffix(".").split(".")
    return (
        len(host) <= MAX_HOST
        and all(_LABEL.fullmatch(label) for label in labels)
        and not _NUMBER.fullmatch(labels[-1])
    )


def public_https(url: httpx.URL) -> httpx.URL:
    """``url`` if it is https and its host not obviously private: the check without DNS. Raises InvalidRequest."""
    if url.scheme != "https":
        raise InvalidRequest("The address: must be an https address")
    address = literal(url)
    local = f".{host_of(url)}".removesuffix(".").endswith(".localhost")
    if local or (address is not None and not is_public(address)):
        raise InvalidRequest("The address: the host is not on the public internet")
    return url


def webhook_address(url: str, settings: Settings) -> httpx.URL:
    """A webhook_url that may be called: https on the public internet. Raises InvalidRequest.

    Any http(s) URL while the keys are the publicly known ones: the app under development is on this machine, too.
    """
    try:
        address = parse(url)
        return address if settings.uses_local_keys else public_https(address)
    except InvalidRequest as refused:
        raise named("webhook_url", refused) from None


def named(field: str, refused: InvalidRequest) -> InvalidRequest:
    """The refusal, its text beginning with the field that held the URL."""
    return InvalidRequest(f"{field}: {str(refused).removeprefix('The address').lstrip(': ')}")


async def pinned(url: httpx.URL) -> Target:
    """DNS pinning: ``url``'s host resolved once, to a public address. Raises InvalidRequest."""
    host = host_of(url)
    address = await _public_address(host, url.port or (443 if url.scheme == "https" else 80))
    return Target(
        url=url.copy_with(host=address),
        headers={"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": host},
    )


def as_is(url: httpx.URL) -> Target:
    """Without pinning: a host of our own settings is trusted."""
    return Target(url=url, headers={}, extensions={})


def is_public(address: Address) -> bool:
    """Whether IANA's registries call it globally reachable; an IPv4 address embedded in IPv6 is checked as such."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    if address.ipv4_mapped is not None or address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    # Obsolete embeddings (6to4, Teredo, IPv4-compatible) are refused whole: no host serves pictures at them.
    return address in IPV6_GLOBAL_UNICAST and not any(
        address in network for network in SPECIAL_IPV6
    )


async def _public_address(host: str, port: int) -> str:
    """One address of ``host``, all of which must be public: a mix of both is a rebinding attack."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: the resolver cannot encode the name (UnicodeError)
        raise InvalidRequest(f"The address: unknown host {host}") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise InvalidRequest("The address: the host is not on the public internet")
    return str(addresses[0])
