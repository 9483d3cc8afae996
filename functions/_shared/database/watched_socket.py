"""A connection whose socket stays registered with the event loop, for statements that follow each other closely.

psycopg registers and removes the socket's reader for each wait, which with uvloop are several system calls a statement.
"""

import asyncio

from psycopg import AsyncConnection
from psycopg.abc import RV, PQGen
from psycopg.rows import DictRow
from psycopg.waiting import READY_R, WAIT_R


class WatchedSocket(AsyncConnection[DictRow]):
    """A psycopg connection; only how it waits for the server differs."""

    _registered: int | None = None
    """The file descriptor whose reader is registered."""
    _answer: asyncio.Future[bool] | None = None
    """Done once there is something to read for the statement under way."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> RV:
        """As psycopg's, which is called for all but the plain wait for an answer."""
        try:
            state = next(gen)
            while state == WAIT_R and timeout is None and await self._is_readable(interval):
                state = gen.send(READY_R)
        except StopIteration as ended:
            result: RV = ended.value
            return result
        except asyncio.CancelledError:
            # psycopg's own wait cancels the statement on the server; the cancellation is raised again within it.
            task = asyncio.current_task()
            assert task
            task.uncancel()
            task.cancel()
        except BaseException:
            self._unregister()  # libpq has closed the socket, whose number may be reused a moment later
            raise
        self._unregister()
        return await super().wait(gen, interval, timeout)

    async def close(self) -> None:
        self._unregister()
        await super().close()

    async def _is_readable(self, within_s: float) -> bool:
        """Whether there is something to read within so long.

        Without a bound the wait could last for ever: uvloop calls the reader of a socket that was reset (RST) once and
        no more, even if bytes are left to read (test_watched_socket.py). psycopg's own wait registers anew.
        """
        loop = asyncio.get_running_loop()
        if self._registered is None:
            self._registered = self.pgconn.socket
            loop.add_reader(self._registered, self._on_readable)
        answer: asyncio.Future[bool] = loop.create_future()
        self._answer = answer
        timer = loop.call_later(within_s, _settle, answer, False)
        try:
            return await answer
        finally:
            timer.cancel()
            self._answer = None

    def _on_readable(self) -> None:
        if self._answer is None or self._answer.done():
            # No statement reads it: the end of a lost connection is readable for ever (busy loop).
            self._unregister()
        else:
            self._answer.set_result(True)

    def _unregister(self) -> None:
        if self._registered is not None:
            asyncio.get_running_loop().remove_reader(self._registered)
            self._registered = None


def _settle(answer: asyncio.Future[bool], value: bool) -> None:
    if not answer.done():
        answer.set_result(value)
