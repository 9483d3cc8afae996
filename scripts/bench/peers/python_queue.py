"""What the queues in Python share: the words between make bench and a programme (README.md), on stdin and stdout."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable


def say(*words: object) -> None:
    print(*words, flush=True)


class Handler:
    """A worker's: ``count`` tells every 20 ms how many jobs there were, and since when; ``time`` tells of each."""

    def __init__(self, mode: str) -> None:
        self._counts = mode == "count"
        self._first = 0.0
        self._handled = 0

    def __call__(self) -> None:
        if not self._counts:
            say("at", time.monotonic())
            return
        self._first = self._first or time.monotonic()
        self._handled += 1

    async def tell(self) -> None:
        """Says ready as the worker starts, then tells until cancelled."""
        say("ready")
        while self._counts:
            say("handled", self._handled, self._first)
            await asyncio.sleep(0.02)


async def serve_client(
    add: Callable[[], Awaitable[object]], add_many: Callable[[int], Awaitable[object]]
) -> None:
    """Serve the client's words: ``bulk``, ``produce``, ``one``; ``add`` enqueues one, ``add_many`` many in one call."""
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, *numbers = line.split()
        began = time.monotonic()
        if word == "bulk":
            await add_many(int(numbers[0]))
        elif word == "one":
            await add()
        else:
            await _produce(add, int(numbers[0]), int(numbers[1]))
        say("done", began, time.monotonic())


async def _produce(add: Callable[[], Awaitable[object]], count: int, producers: int) -> None:
    async def produce() -> None:
        for _ in range(count // producers):
            await add()

    await asyncio.gather(*(produce() for _ in range(producers)))
