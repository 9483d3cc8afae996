"""A stop that nobody notices: at the first signal the process is no longer ready and claims nothing more, while uvicorn
finishes what is open. A second signal ends it at once.
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
    """Call ``drain`` in the loop at a stop signal, and then whatever handled that before, which is uvicorn.

    Only the main thread may: a server in another thread is stopped by whoever started it.
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
            # uvicorn waits no longer at a second one only if that is SIGINT.
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
    """Have this process exit with 0 after a stop: uvicorn raises the signal again once it has ended."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
