"""SIGINT and SIGTERM raise one KeyboardInterrupt, so that ``finally`` blocks stop child processes."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""The conventional exit code after SIGINT: 128 + 2."""


def catch_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)


def interruptible(main: Callable[[], int]) -> int:
    """Run ``main`` with the signal handlers; returns its exit code, or INTERRUPTED."""
    catch_signals()
    try:
        return main()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


def _stop_once(number: int, frame: FrameType | None) -> None:
    # Ignore further signals: a second Ctrl-C during the shutdown would leave child processes running.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    raise KeyboardInterrupt
