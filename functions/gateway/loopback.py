"""Which host names and addresses mean this machine (loopback)."""

import ipaddress
import re
from functools import lru_cache

AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::\d{1,5})?", re.ASCII)
"""A Host header: a name or an address, and an optional port."""
HOST_OF_GUESTS = frozenset(
    {"10.0.2.2", "10.0.3.2", "host.docker.internal", "host.containers.internal"}
)
"""The names of the host machine inside emulators (Android's, Genymotion's) and containers. Safe from DNS rebinding: an
address has no DNS, and nobody can register a name below ``.internal``."""


@lru_cache(
    maxsize=64
)  # every request asks for the same few; bounded, as a Host header is the client's
def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host``, a name or an address, is reachable from this machine only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if address.version == 6 else None
    return (mapped or address).is_loopback


@lru_cache(maxsize=64)
def names_this_machine(authority: str) -> bool:
    """Whether a Host header means this machine.

    DNS rebinding: a page whose own name resolves to 127.0.0.1 sends that name, and is told apart by it.
    """
    parts = AUTHORITY.fullmatch(authority)
    if parts is None:
        return False
    host = (parts["ipv6"] or parts["name"]).lower().removesuffix(".")
    return is_loopback(host) or host.endswith(".localhost") or host in HOST_OF_GUESTS


def is_local_origin(origin: str) -> bool:
    """Whether an Origin header, ``scheme://host[:port]``, belongs to a page of this machine; ``null`` does not."""
    scheme, _, authority = origin.partition("://")
    return bool(scheme) and names_this_machine(authority)
