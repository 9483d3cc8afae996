"""The least time between two mails that strangers ask for. The store has another, of the mails that users were sent."""

import math
import time
from collections import OrderedDict
from typing import Literal

from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailed.one_time_tokens import Column

Asked = Column | Literal["resend"]
MAX_ADDRESSES = 10_000
MARGIN_S = 0.25
"""The store counts from a few milliseconds later: it must not be the one to refuse, as it does so for accounts only."""


def too_frequent(left_s: int) -> AuthError:
    return AuthError(
        429,
        "over_email_send_rate_limit",
        f"For security purposes, you can only request this after {left_s} seconds.",
        headers={"Retry-After": str(max(left_s, 1))},
    )


class MailRequests:
    """Account enumeration: requests of strangers are counted by address and kind, before the address is looked up.

    ``frequency_s`` 0: no limit.
    """

    def __init__(self, frequency_s: int) -> None:
        self._frequency_s = frequency_s
        self._asked: OrderedDict[tuple[str, Asked], float] = OrderedDict()

    def check(self, address: str, *kinds: Asked, behind: tuple[Asked, ...] = ()) -> None:
        """Count a request for a mail of one of ``kinds``. Raises AuthError over_email_send_rate_limit.

        ``behind``: kinds that it has to wait for as well, while they do not wait for it.
        """
        if not self._frequency_s:
            return
        now = time.monotonic()
        last = max(self._asked.get((address, kind), -math.inf) for kind in (*kinds, *behind))
        left = last + self._frequency_s + MARGIN_S - now
        if left > 0:
            raise too_frequent(int(max(left - MARGIN_S, 0)))
        for kind in kinds:
            self._asked[address, kind] = now
            self._asked.move_to_end((address, kind))
        while len(self._asked) > MAX_ADDRESSES:
            self._asked.popitem(last=False)
