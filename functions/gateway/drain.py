"""Graceful shutdown: at the first signal the process drains (unready, claims no jobs) while uvicorn finishes the open
requests. A second signal ends it at once.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def called_at_stop(drain: Callable[[], None]) -> Iterator[None]:
    """Call ``drain`` in the event loop at a stop signal, then the previous handler (uvicorn's).

    Does nothing outside the main thread, where Python allows no signal handlers: tests stop such a server themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    stopping = False
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        loop.call_soon_threadsafe(drain)
        if callable(before[number]):
            # uvicorn stops waiting for open requests at a second signal only if that is SIGINT.
            before[number](signal.SIGINT if stopping else number, frame)
        stopping = True

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, before[number])


def stop_quietly() -> None:
    """Exit code 0 after a stop signal: uvicorn re-raises the signal after its shutdown, so it must be ignored then."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
