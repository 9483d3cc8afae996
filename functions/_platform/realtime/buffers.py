"""Unsent frames of all connections of a process, bounded together (slow-read attack, memory exhaustion).

A connection's own bound is not enough: each of 10,000 may hold that much. A text shared by many frames is counted once.
"""

import logging
from sys import getsizeof
from typing import Protocol

log = logging.getLogger(__name__)

Frame = tuple[str | bytes, ...]
FRAME_BYTES = 100
"""Of a frame besides its texts: the tuple, and its place in a queue."""
SHARED_BYTES = 1024
"""Shorter texts count for each frame: a reference count would cost more time than it saves."""
RELIEF = 0.75
"""Connections are closed until this part of the bound is left: not one for each further frame (hysteresis)."""


class Holder(Protocol):
    """A connection. ``queued``: the length of its unsent frames."""

    queued: int

    def drop(self) -> None:
        """Let go of all frames (``remove`` for each), and close."""


class Buffers:
    """``total``: bytes of memory."""

    def __init__(self, max_bytes: int) -> None:
        self.total = 0
        self._max_bytes = max_bytes
        self._uses: dict[int, int] = {}
        """id of a shared text → frames that have it. It is no other object's while one of them is queued."""
        self._holders: set[Holder] = set()

    def join(self, holder: Holder) -> None:
        self._holders.add(holder)

    def leave(self, holder: Holder) -> None:
        self._holders.discard(holder)

    def add(self, frame: Frame) -> None:
        """Beyond the bound the connections that hold most are dropped, and with them perhaps this frame."""
        self.total += FRAME_BYTES
        for text in frame:
            if len(text) < SHARED_BYTES:
                self.total += getsizeof(text)
                continue
            uses = self._uses.get(id(text), 0)
            self._uses[id(text)] = uses + 1
            if uses == 0:
                self.total += getsizeof(text)
        if self.total > self._max_bytes:
            self._relieve()

    def remove(self, frame: Frame) -> None:
        self.total -= FRAME_BYTES
        for text in frame:
            if len(text) < SHARED_BYTES:
                self.total -= getsizeof(text)
                continue
            self._uses[id(text)] -= 1
            if self._uses[id(text)] == 0:
                del self._uses[id(text)]
                self.total -= getsizeof(text)

    def _relieve(self) -> None:
        dropped = 0
        for holder in sorted(self._holders, key=lambda one: one.queued, reverse=True):
            if self.total <= self._max_bytes * RELIEF:
                break
            holder.drop()
            self._holders.discard(holder)
            dropped += 1
        log.warning(
            "realtime: %d slow connections closed: unsent messages exceed REALTIME_MAX_TOTAL_BUFFER_MB",
            dropped,
        )
