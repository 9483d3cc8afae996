"""Which hosts, by name or address, are this machine and nobody else's."""

import ipaddress
import re

AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::\d{1,5})?", re.ASCII)
"""A Host header: a name or an address, and perhaps a port."""
OF_GUESTS = frozenset({"10.0.2.2", "10.0.3.2", "host.docker.internal", "host.containers.internal"})
"""What emulators (Android's, Genymotion's) and containers call the machine they run on. No page of a stranger has one
of these for its name: an address cannot be rebound, and nobody can register below ``.internal``."""


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address to listen on, is reachable from this machine only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if address.version == 6 else None
    return (mapped or address).is_loopback


def names_this_machine(authority: str) -> bool:
    """Whether a Host header says this machine.

    A page that has its own name resolve to 127.0.0.1 (DNS rebinding) sends that name.
    """
    parts = AUTHORITY.fullmatch(authority)
    if parts is None:
        return False
    host = (parts["ipv6"] or parts["name"]).lower().removesuffix(".")
    return is_loopback(host) or host.endswith(".localhost") or host in OF_GUESTS


def is_local_origin(origin: str) -> bool:
    """Whether an Origin header, ``scheme://host[:port]``, is of a page that this machine serves; ``null`` is not."""
    scheme, _, authority = origin.partition("://")
    return bool(scheme) and names_this_machine(authority)
