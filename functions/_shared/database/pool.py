"""The connection pool, and what our SQL refuses, as exceptions."""

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic_core import from_json

from functions._shared.errors import (
    RETRY_AFTER_S,
    Conflict,
    KeyReused,
    LeaseLost,
    NotFound,
    TooManyRequests,
)
from functions._shared.settings import Settings

T = TypeVar("T")

POOL_WAIT_S = 3
"""After this long without a connection the database counts as down."""
ANSWER_S = 5.0
"""Longer than any statement of ours waits: a connection that is silent for so long is dead, whatever TCP says."""
LAST_S = 5.0
"""What steps that were begun get at a stop."""
DATABASE_DOWN = (psycopg.OperationalError, PoolTimeout)
GONE_SQLSTATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})
"""The server, or this session of it, goes: shut down, crashed, starting, idle for too long. All others of
OperationalError (a lock_timeout, too many connections, a deadlock) are the answer of one that is there."""


class Pool(AsyncConnectionPool[AsyncConnection[DictRow]]):
    """Its connections are cut when the other end goes silent, so that nobody waits for it for ever.

    One that died while it was idle (idle_session_timeout, a failover, a pooler's restart) is replaced, not handed out:
    what is asked over it would read as a database that is down.
    """

    _asked: asyncio.Task[bool] | None = None
    _steps: frozenset[asyncio.Task[Any]] = frozenset()
    """What is finished before the pool closes."""

    @asynccontextmanager
    async def connection(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> AsyncIterator[AsyncConnection[DictRow]]:
        async with super().connection(timeout) as connection:
            with cut_after(connection, ANSWER_S):
                yield connection

    async def getconn(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> AsyncConnection[DictRow]:
        """A connection that stands. psycopg's own ``check`` is a round trip each time, and waits between dead ones."""
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await super().getconn(max(0.0, until - time.monotonic()))
            stands = False
            try:
                stands = await _stands(connection)
            finally:
                if not stands:
                    await self.putconn(connection)
            if stands:
                return connection

    async def to_the_end(self, step: Coroutine[Any, Any, T]) -> T:
        """Finish ``step`` even when cancelled in its middle: what is paid for, or was begun, has to be written down.

        At a stop uvicorn cancels what is open and does not wait for it; ``close`` does.
        """
        task = asyncio.create_task(step)
        self._steps |= {task}
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._steps -= {task}

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - psycopg's own
        if self._steps:
            await asyncio.wait(self._steps, timeout=LAST_S)
        await super().close(timeout)

    async def is_away(self) -> bool:
        """Whether nothing answers a connection of its own either; all who want to know at a time share one question."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(_away(str(self.conninfo)))
        return await asyncio.shield(self._asked)


async def _stands(connection: AsyncConnection[Any]) -> bool:
    """Whether an idle connection may be used. No round trip, unless there is something to read: mostly its end."""
    if connection.closed:
        return False
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if not waiting.poll(0):
        return True
    try:
        with cut_after(connection, ANSWER_S):
            await connection.execute("")
    except psycopg.Error:
        return False
    return True


def is_gone(error: Exception) -> bool:
    """Whether ``error`` is of a connection that is lost or was not had, not a server's answer; by its SQLSTATE."""
    if not isinstance(error, psycopg.OperationalError):
        return isinstance(error, PoolTimeout)
    state = error.sqlstate
    # None: the client itself has lost the server. Class 08: connection exception, which is all that a pooler says.
    return state is None or state.startswith("08") or state in GONE_SQLSTATES


async def _away(conninfo: str) -> bool:
    conninfo = make_conninfo(conninfo, connect_timeout=POOL_WAIT_S)
    try:
        connection = await AsyncConnection.connect(conninfo, autocommit=True)
    except psycopg.OperationalError:
        # A failed connect has no SQLSTATE. PQping tells a server that refuses (too many connections) from none.
        return await asyncio.to_thread(PGconn.ping, conninfo.encode()) != Ping.OK
    try:  # a pooler takes connections also while there is no server behind it
        with cut_after(connection, ANSWER_S):
            await connection.execute("select 1")
    except psycopg.Error as error:
        return is_gone(error)
    finally:
        await connection.close()
    return False


@contextmanager
def cut_after(connection: AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Break ``connection`` unless the block ends in time; what waits for it then raises OperationalError.

    Cancelling would not do: psycopg then waits for the server to confirm it, and the server is silent.
    """
    watchdog = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        watchdog.cancel()


def _cut(connection: AsyncConnection[Any]) -> None:
    if not connection.closed:
        # Shut down, not closed: the number of a closed one may be somebody else's a moment later.
        with socket.socket(fileno=os.dup(connection.fileno())) as stream:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has just gone by itself


def make_pool(settings: Settings, min_size: int) -> Pool:
    """A pool of DB_POOL_SIZE connections at most, not yet open."""
    return Pool(
        settings.supabase_db_url.get_secret_value(),
        connection_class=AsyncConnection[DictRow],
        min_size=min_size,
        max_size=settings.db_pool_size,
        timeout=POOL_WAIT_S,
        # Giving up early means that the next request tries afresh: back within seconds, not after a long backoff.
        reconnect_timeout=POOL_WAIT_S,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "prepare_threshold": None,  # a transaction pooler does not keep prepared statements
            "connect_timeout": POOL_WAIT_S,
            "application_name": "picture-edge",
        },
        configure=_configure,
        open=False,
    )


async def _configure(connection: AsyncConnection[DictRow]) -> None:
    set_json_loads(from_json, connection)  # the faster parser, and a claim parses much


@asynccontextmanager
async def fenced() -> AsyncIterator[None]:
    """Turn what our SQL refuses into LeaseLost (a stale fencing token) or NotFound (its row is gone or done)."""
    try:
        yield
    except psycopg.Error as error:
        _raise_as(error, {"PT409": LeaseLost, "PT404": NotFound})


@asynccontextmanager
async def refused() -> AsyncIterator[None]:
    """Turn what our SQL refuses its caller into Conflict, NotFound, KeyReused or TooManyRequests."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "PT429":
            raise _over_quota(error) from None
        _raise_as(error, {"PT409": Conflict, "PT404": NotFound, "PT422": KeyReused})


def _over_quota(error: psycopg.Error) -> TooManyRequests:
    told = from_json(error.diag.message_detail or "{}")
    # A running one may end at any moment: nothing says when.
    after_s = int(told.get("retry_after") or RETRY_AFTER_S)
    headers = {
        "RateLimit-Limit": str(told["quota"]),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(after_s),
    }
    return TooManyRequests(
        str(error.diag.message_primary),
        retry_after_s=after_s,
        headers=headers,
        code="QUOTA_EXCEEDED",
    )


def _raise_as(error: psycopg.Error, refusals: Mapping[str, type[Exception]]) -> NoReturn:
    refusal = refusals.get(error.sqlstate or "")
    if refusal:
        raise refusal(str(error.diag.message_primary)) from None
    raise error
