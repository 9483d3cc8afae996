"""How often an address may present credentials that are refused: guessing is slow, and costs us little."""

import ipaddress
import math
import time

from functions._shared.errors import TooManyRequests

WINDOW_S = 60.0
MAX_ADDRESSES = 10_000


class FailedAttempts:
    """``per_minute`` each address, 0 for no limit. An IPv6 network of 64 bits counts as one address.

    Callers without one (a UNIX socket whose proxy names nobody) are not counted: they would share one count.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._failed: dict[str, tuple[float, int]] = {}
        """Address → when its minute began, and its failures since."""

    def check(self, address: str) -> None:
        """Raises TooManyRequests, with the seconds until its minute is over."""
        began, count = self._failed.get(_network(address), (0.0, 0))
        left_s = began + WINDOW_S - time.monotonic()
        if self._per_minute and count >= self._per_minute and left_s > 0:
            raise TooManyRequests(
                "Too many failed attempts to authenticate", retry_after_s=math.ceil(left_s)
            )

    def note(self, address: str) -> None:
        if not address:
            return
        network, now = _network(address), time.monotonic()
        began, count = self._failed.pop(network, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        while len(self._failed) >= MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]
        self._failed[network] = began, count + 1


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
