"""Where a request to an address that somebody else chose may go: resolved once, public only, and then held to.

An address is decided in one spelling and asked in the same one: the host's ASCII form (its A-labels), never the Unicode
that it stands for, which two libraries may turn into two names.
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

LONGEST_HOST = 253
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """One request: ``url`` has the address in place of the name; ``headers`` and ``extensions`` ask for the name."""

    url: httpx.URL
    headers: dict[str, str]
    extensions: dict[str, str]


def parse(url: str, relative_to: httpx.URL | None = None) -> httpx.URL:
    """A plain http(s) URL whose host can be asked for. Raises InvalidRequest, for whatever text.

    ``relative_to`` is the address that redirected to it.
    """
    try:
        target = relative_to.join(url) if relative_to else httpx.URL(url)
        for label in host_of(target).split("."):
            if label.startswith(
                "xn--"
            ):  # read only when somebody asks, and then in an error of idna's own
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
    """Its host in ASCII, as it is asked for; an IPv6 address without brackets."""
    return url.raw_host.decode("ascii")


def literal(url: httpx.URL) -> Address | None:
    """The address that the host is, None where it is a name."""
    try:
        address = ipaddress.ip_address(host_of(url))
    except ValueError:
        return None
    # With a zone (fe80::1%eth0) it is one of this machine's own interfaces.
    return None if isinstance(address, ipaddress.IPv6Address) and address.scope_id else address


def _is_name(host: str) -> bool:
    """Whether DNS could have it. Who ends in a number is meant as an IPv4 address: 2130706433, 0x7f.1, 127.1."""
    labels = host.removesuffix(".").split(".")
    return (
        len(host) <= LONGEST_HOST
        and all(_LABEL.fullmatch(label) for label in labels)
        and not _NUMBER.fullmatch(labels[-1])
    )


def public_https(url: httpx.URL) -> httpx.URL:
    """``url`` if it may lead to a public host over https, as far as can be told without asking DNS.

    Raises InvalidRequest.
    """
    if url.scheme != "https":
        raise InvalidRequest("The address: must be an https address")
    address = literal(url)
    local = f".{host_of(url)}".removesuffix(".").endswith(".localhost")
    if local or (address is not None and not is_public(address)):
        raise InvalidRequest("The address: the host is not on the public internet")
    return url


def webhook_address(url: str, settings: Settings) -> httpx.URL:
    """A webhook_url that may be called: over https on the public internet. Raises InvalidRequest.

    Any http(s) address while the keys are those that every laptop shares: the app under test is there too.
    """
    try:
        address = parse(url)
        return address if settings.uses_local_keys else public_https(address)
    except InvalidRequest as refused:
        raise named("webhook_url", refused) from None


def named(field: str, refused: InvalidRequest) -> InvalidRequest:
    """The refusal of an address with the field that it stood in."""
    return InvalidRequest(f"{field}: {str(refused).removeprefix('The address').lstrip(': ')}")


async def pinned(url: httpx.URL) -> Target:
    """``url``'s host resolved, once, to a public address. Raises InvalidRequest."""
    host = host_of(url)
    address = await _public_address(host, url.port or (443 if url.scheme == "https" else 80))
    return Target(
        url=url.copy_with(host=address),
        headers={"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": host},
    )


def as_is(url: httpx.URL) -> Target:
    """For a host that our own settings name."""
    return Target(url=url, headers={}, extensions={})


def is_public(address: Address) -> bool:
    """Whether it is on the public internet by IANA's registries, an IPv4 address inside an IPv6 one too."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    if address.ipv4_mapped is not None or address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    # Older ways to carry an IPv4 address (6to4, Teredo, compatible) are special: nobody serves pictures by them.
    return address in IPV6_GLOBAL_UNICAST and not any(
        address in network for network in SPECIAL_IPV6
    )


async def _public_address(host: str, port: int) -> str:
    """One address of ``host``, all of which must be public: a name that mixes both is a trap."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # a name that the resolver cannot even spell is a UnicodeError
        raise InvalidRequest(f"The address: unknown host {host}") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise InvalidRequest("The address: the host is not on the public internet")
    return str(addresses[0])
