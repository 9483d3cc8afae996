"""The moment at which a polling loop looks again, which other parts of the process may bring forward."""

import asyncio
import math

CLOCK_MARGIN_S = 0.01
"""Added to a due time that the database computed, so that the row is due by the database's clock as well."""
TICK_S = 0.01
"""Due times are rounded up to it: thousands of predictions that fall due together ring once."""


class Alarm:
    """A timer that one loop sets and waits for. A passive object, so it is made before the loop and its callers."""

    def __init__(self) -> None:
        self._at = 0.0
        """By the event loop's clock, as all moments here."""
        self._expected: set[float] = set()
        """The due times to come: one just behind the next look must not wait for the look after that."""
        self._brought_forward = asyncio.Event()

    def set(self, seconds: float) -> None:
        """Ring in ``seconds`` from now, or at the first due time if that is earlier."""
        now = asyncio.get_running_loop().time()
        self._expected = {at for at in self._expected if at > now}
        self._at = min([now + seconds, *self._expected])

    def expect(self, seconds: float) -> None:
        """Something falls due in ``seconds``: ring then, if that is earlier than planned."""
        at = asyncio.get_running_loop().time() + seconds + CLOCK_MARGIN_S
        at = math.ceil(at / TICK_S) * TICK_S
        self._expected.add(at)
        if at < self._at:
            self._at = at
            self._brought_forward.set()

    async def wait(self) -> None:
        """Sleep until it rings; returns at once when the moment has passed."""
        loop = asyncio.get_running_loop()
        while (left_s := self._at - loop.time()) > 0:
            self._brought_forward.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._brought_forward.wait()
            except TimeoutError:
                return
