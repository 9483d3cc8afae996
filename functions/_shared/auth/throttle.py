"""Throttle on failed authentication, per client address: a fixed window of a minute, then 429.

Valid credentials always pass, as clients share addresses (NAT, one server). So this limits load and log noise; what
protects from brute force is the length of keys and secrets.
"""

import ipaddress
import math
import time

from functions._shared.errors import TooManyRequests

WINDOW_S = 60.0
MAX_ADDRESSES = 10_000
"""Memory bound; the address that failed least recently is dropped."""
TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::ffff:0:0:0/96"))
"""NAT64 and SIIT prefixes, which hold all IPv4 addresses (RFC 6052, RFC 7915)."""


class FailedAttempts:
    """``per_minute`` for each address, 0 for no limit. An IPv6 /64 counts as one address: one customer has all of it.

    Callers without an address (a UNIX socket without X-Forwarded-For) are not counted: they would share one count.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._failed: dict[str, tuple[float, int]] = {}
        """Address → start of its window, and the failures in it."""

    def note(self, address: str) -> None:
        """Count a failure. Raises TooManyRequests above the limit, with Retry-After at the end of the window."""
        if not address or not self._per_minute:
            return
        network, now = _network(address), time.monotonic()
        began, count = self._failed.pop(network, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        while len(self._failed) >= MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]
        self._failed[network] = began, count + 1
        if count >= self._per_minute:
            raise TooManyRequests(
                "Too many failed attempts to authenticate",
                retry_after_s=max(1, math.ceil(began + WINDOW_S - now)),
            )


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped or any(parsed in network for network in TRANSLATED):
        return str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
