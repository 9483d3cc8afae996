"""The connection pool: detects dead connections before they are used, and silent ones while they are."""

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar, cast

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool
from pydantic_core import from_json

from functions._shared.database.session import settle
from functions._shared.database.sqlstates import is_lost
from functions._shared.database.version import SCHEMA_VERSION
from functions._shared.database.watched_socket import WatchedSocket
from functions._shared.settings import Settings

T = TypeVar("T")

APPLICATION_NAME = f"picture-edge/{SCHEMA_VERSION}"
"""Of every session: sql/ refuses claims of gateways that are too old for it (``claim_jobs``)."""
POOL_WAIT_S = 3
"""Connection timeout: without a connection for this long the database counts as down."""
ANSWER_S = 5.0
"""Read timeout, longer than any statement of ours waits: a connection that is silent for so long is dead, although TCP
takes hours to notice."""
DRAIN_EVERY_S = 1.0
"""How often all sessions are replaced at most, while the server is a standby."""
LAST_S = 5.0
"""Grace period at a stop for steps that were begun (``to_the_end``)."""


class Pool(AsyncConnectionPool[AsyncConnection[DictRow]]):
    """A psycopg pool with three additions: a watchdog, a liveness check without round trip, and no stay on a standby.

    The watchdog cuts a connection whose server is silent (half-open TCP), so that no request waits for ever. The check
    replaces connections that died while idle (idle_session_timeout, a failover, a pooler's restart): a statement sent
    over one would fail as if the database were down. After a failover new connections reach the primary, while open
    ones may stay on the standby: the first refusal to write replaces them all.
    """

    _drain_at = 0.0
    _away_probe: asyncio.Task[bool] | None = None
    _steps: frozenset[asyncio.Task[Any]] = frozenset()
    """Running ``to_the_end`` steps, awaited before the pool closes."""
    _at_close: tuple[Callable[[], Awaitable[None]], ...] = ()

    @asynccontextmanager
    async def connection(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> AsyncIterator[AsyncConnection[DictRow]]:
        try:
            async with super().connection(timeout) as connection:
                with cut_after(connection, ANSWER_S):
                    yield connection
        except psycopg.errors.ReadOnlySqlTransaction:
            if time.monotonic() >= self._drain_at:
                self._drain_at = time.monotonic() + DRAIN_EVERY_S
                await self.drain()
            raise

    async def getconn(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> AsyncConnection[DictRow]:
        """A live connection. psycopg's own ``check`` costs a round trip each time, and pauses between dead ones.

        Lost cancellation: the pool waits by ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation that
        arrives together with the connection; loops would go on, and timeouts never end.
        """
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        task = asyncio.current_task()
        requests = task.cancelling() if task else 0
        while True:
            connection = await super().getconn(max(0.0, until - time.monotonic()))
            alive = False
            try:
                if task and task.cancelling() > requests:
                    raise asyncio.CancelledError
                alive = await is_alive(connection)
            finally:
                if not alive:
                    await self.putconn(connection)
            if alive:
                return connection

    async def to_the_end(self, step: Coroutine[Any, Any, T]) -> T:
        """Shield ``step`` from cancellation: a payment or a write that has begun must be recorded.

        At a stop uvicorn cancels open requests and does not wait for them; ``close`` waits for these steps.
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
        for step in self._at_close:
            await step()
        await super().close(timeout)

    def at_close(self, step: Callable[[], Awaitable[None]]) -> None:
        """Have ``step`` called before the pool closes: a connection of ``connect`` ends with it."""
        self._at_close += (step,)

    async def connect(self) -> AsyncConnection[DictRow]:
        """A connection beside the pool, set up as those in it; the caller closes it. Raises psycopg.Error."""
        kwargs = cast(dict[str, Any], self.kwargs)
        connection = await WatchedSocket.connect(str(self.conninfo), **kwargs)
        with cut_after(connection, ANSWER_S):
            await _configure(connection)
        return connection

    @contextmanager
    def watched(self, connection: AsyncConnection[DictRow]) -> Iterator[None]:
        """The watchdog, for a connection that was opened by ``connect``."""
        with cut_after(connection, ANSWER_S):
            yield

    async def is_away(self) -> bool:
        """Whether no server answers, asked over a connection outside the pool; concurrent callers share one probe."""
        if self._away_probe is None or self._away_probe.done():
            self._away_probe = asyncio.create_task(_server_is_away(str(self.conninfo)))
        return await asyncio.shield(self._away_probe)


async def is_alive(connection: AsyncConnection[Any]) -> bool:
    """Whether an idle connection is alive. A round trip only when its socket is readable, which mostly means EOF."""
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


async def _server_is_away(conninfo: str) -> bool:
    conninfo = make_conninfo(conninfo, connect_timeout=POOL_WAIT_S)
    try:
        connection = await AsyncConnection.connect(conninfo, autocommit=True)
    except psycopg.OperationalError:
        # A failed connect has no SQLSTATE. PQping tells a server that refuses (too many connections) from none.
        return await asyncio.to_thread(PGconn.ping, conninfo.encode()) != Ping.OK
    try:  # a pooler accepts connections also while there is no server behind it
        with cut_after(connection, ANSWER_S):
            await connection.execute("select 1")
    except psycopg.Error as error:
        return is_lost(error)
    finally:
        await connection.close()
    return False


@contextmanager
def cut_after(connection: AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Watchdog: break ``connection`` unless the block ends in time; its pending call then raises OperationalError.

    Task cancellation does not help: psycopg sends a cancel request and waits for the silent server to confirm it.
    """
    watchdog = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        watchdog.cancel()


def _cut(connection: AsyncConnection[Any]) -> None:
    if not connection.closed:
        # Shut down, not closed: a closed file descriptor's number may be reused a moment later.
        with socket.socket(fileno=os.dup(connection.fileno())) as stream:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already disconnected


def make_pool(settings: Settings, min_size: int) -> Pool:
    """A pool of DB_POOL_SIZE connections at most, not yet open."""
    return Pool(
        settings.supabase_db_url.get_secret_value(),
        connection_class=AsyncConnection[DictRow],
        min_size=min_size,
        max_size=settings.db_pool_size,
        timeout=POOL_WAIT_S,
        # A short reconnect timeout: the next request tries afresh, instead of waiting out an exponential backoff.
        reconnect_timeout=POOL_WAIT_S,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "prepare_threshold": None,  # a transaction pooler does not keep prepared statements
            "connect_timeout": POOL_WAIT_S,
            "application_name": APPLICATION_NAME,
            "client_encoding": "utf-8",
        },
        configure=_configure,
        open=False,
    )


async def _configure(connection: AsyncConnection[DictRow]) -> None:
    await settle(connection)
    set_json_loads(
        from_json, connection
    )  # pydantic's parser: faster, and a claim parses many payloads
