"""Brute force on mailed codes: of a million codes a caller may try a few, from however many addresses (botnet)."""

from collections import OrderedDict
from collections.abc import Iterable

from functions._platform.auth.mailed.one_time_tokens import matches
from functions._platform.auth.store.one_time_tokens import Stored

MAX_WRONG = 20
"""Wrong codes for one mail. After them its code is dead, while its link works; the next mail has a new one."""
MAX_TOKENS = 10_000


class Attempts:
    """Compares codes, and counts the wrong ones in this process's memory."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, int] = OrderedDict()

    def right_one(self, found: Iterable[Stored], address: str, code: str) -> Stored | None:
        """The token among those mailed to ``address`` whose code it is."""
        for stored in found:
            if self._wrong.get(stored.code_hash, 0) >= MAX_WRONG:
                continue
            if matches(stored.code_hash, address, code):
                return stored
            self._add(stored.code_hash)
        return None

    def _add(self, code_hash: str) -> None:
        self._wrong[code_hash] = self._wrong.pop(code_hash, 0) + 1
        if len(self._wrong) > MAX_TOKENS:
            self._wrong.popitem(last=False)
