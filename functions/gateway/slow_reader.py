"""Slow-read protection for uvicorn's protocols: a client that does not read its response is cut off."""

import asyncio

from functions.gateway import bounds


class SlowReaderTimeout(asyncio.Protocol):
    """Mixin: aborts the connection once its write buffer has been above the high-water mark for UNREAD_S."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread_timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():  # a closing transport still has to flush its buffer
            self._stop_unread_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_unread_timer()
        super().connection_lost(exc)

    def _start_unread_timer(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(bounds.UNREAD_S, self.transport.abort)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _close(self) -> None:
        """Close once the write buffer is flushed, or abort after UNREAD_S: it is never flushed to a slow reader."""
        self.transport.close()
        self._start_unread_timer()
