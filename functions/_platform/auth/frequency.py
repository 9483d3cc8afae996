"""The least time between two mails: by the database for users, by this process's memory for addresses without one."""

import math
import time
from collections import OrderedDict

from functions._platform.auth.errors import AuthError
from functions._platform.auth.one_time_tokens import Column

MAX_ADDRESSES = 10_000


def too_frequent(left_s: int) -> AuthError:
    return AuthError(
        429,
        "over_email_send_rate_limit",
        f"For security purposes, you can only request this after {left_s} seconds.",
        headers={"Retry-After": str(max(left_s, 1))},
    )


class PretendedMails:
    """Account enumeration: an address that gets no mail is refused a second one as soon as any other address is."""

    def __init__(self, frequency_s: int) -> None:
        self._frequency_s = frequency_s
        self._sent: OrderedDict[tuple[str, Column], float] = OrderedDict()

    def send(self, address: str, column: Column) -> None:
        """Raises AuthError over_email_send_rate_limit."""
        now = time.monotonic()
        left = self._sent.get((address, column), -math.inf) + self._frequency_s - now
        if left > 0:
            raise too_frequent(int(left))
        self._sent[address, column] = now
        self._sent.move_to_end((address, column))
        if len(self._sent) > MAX_ADDRESSES:
            self._sent.popitem(last=False)
