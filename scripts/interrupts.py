"""Ctrl-C and SIGTERM as one KeyboardInterrupt, so that whatever a command has started is stopped with it."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""The exit code of shells for it."""


def catch_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)


def interruptible(main: Callable[[], int]) -> int:
    """``main``'s exit code, or INTERRUPTED."""
    catch_signals()
    try:
        return main()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


def _stop_once(number: int, frame: FrameType | None) -> None:
    # What comes while everything is being stopped must not leave half of it running.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
