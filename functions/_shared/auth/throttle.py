"""Rate limits per client address: token buckets (a burst, and a rate at which it is refilled), with bounded memory."""

import ipaddress
import math
import time

from functions._shared.errors import TooManyRequests

MAX_ADDRESSES = 10_000
"""Memory bound; the address that was seen least recently is dropped."""
TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::ffff:0:0:0/96"))
"""NAT64 and SIIT prefixes, which hold all IPv4 addresses (RFC 6052, RFC 7915)."""


class AddressLimit:
    """``burst`` requests of one address at once, then ``per_s`` a second. An IPv6 /64 counts as one address: one
    customer has all of it.

    Callers without an address (a UNIX socket without X-Forwarded-For) are not limited: they would share one bucket.
    """

    def __init__(self, *, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._buckets: dict[str, tuple[float, float]] = {}
        """Address → tokens left, and the time of that count."""

    def take(self, address: str) -> int:
        """0, and one token less; or, with none left, whole seconds until there is one."""
        if not address:
            return 0
        network, now = _network(address), time.monotonic()
        left, counted_at = self._buckets.pop(network, (self._burst, now))
        left = min(self._burst, left + (now - counted_at) * self._per_s)
        while len(self._buckets) >= MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        allowed = left >= 1
        self._buckets[network] = (left - 1 if allowed else left), now
        return 0 if allowed else max(1, math.ceil((1 - left) / self._per_s))


class FailedAttempts:
    """Throttle on failed authentication: ``per_minute`` for each address, 0 for no limit.

    Valid credentials always pass, as clients share addresses (NAT, one server). So this limits load and log noise; what
    protects from brute force is the length of keys and secrets.
    """

    def __init__(self, per_minute: int) -> None:
        self._limit = AddressLimit(burst=per_minute, per_s=per_minute / 60) if per_minute else None

    def note(self, address: str) -> None:
        """Count a failure. Raises TooManyRequests above the limit, with Retry-After."""
        wait = self._limit.take(address) if self._limit else 0
        if wait:
            raise TooManyRequests("Too many failed attempts to authenticate", retry_after_s=wait)


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
