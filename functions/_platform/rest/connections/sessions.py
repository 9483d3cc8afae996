"""The pool: at most PGRST_DB_POOL sessions, the one used last first (LIFO), as its backend has warm caches.

A pool of its own (bulkhead): a heavy query of an app must not starve the queue of connections.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout
from pydantic import SecretStr

from functions._platform.rest.connections.session import Key, Session
from functions._shared.database.pool import APPLICATION_NAME
from functions._shared.database.session import is_pooled

WAIT_S = 10.0
"""Acquisition timeout, PostgREST's own default."""
CONNECT_S = 5
MAX_SEEN = 4096
"""Statements that are remembered as seen once."""
KEEPALIVE = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Half-open TCP: the kernel ends a connection whose peer is silent for 50 s. No read timeout: a statement may take as
long as its role's statement_timeout allows."""


class NoDatabase(psycopg.OperationalError):
    """No connection could be made."""


class Sessions:
    """Opens connections as they are needed. ``prepare``: whether statements are prepared on direct connections."""

    def __init__(self, address: SecretStr, size: int, *, prepare: bool) -> None:
        self._address = address
        self._size = size
        self._prepare = prepare
        self._seen: set[int] = set()
        self._open: set[Session] = set()
        self._opening = 0
        self._free: list[Session] = []
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session for one request. Raises PoolTimeout, NoDatabase.

        Cancelled within (the client is gone, or a stop), its statement is cancelled too.
        """
        session = await self._acquired()
        try:
            yield session
        finally:
            try:
                if session.is_usable:
                    self._free.append(session)
                else:
                    self._open.discard(session)
                    await asyncio.shield(session.abandon())
            finally:
                self._wake()

    async def _acquired(self) -> Session:
        found = self._popped()
        if found is None and len(self._open) + self._opening < self._size:
            return await self._opened()
        try:
            async with asyncio.timeout(WAIT_S):
                while found is None:
                    await self._turn()
                    found = self._popped()
                    if found is None and len(self._open) + self._opening < self._size:
                        return await self._opened()
        except TimeoutError:
            raise PoolTimeout from None
        return found

    def _popped(self) -> Session | None:
        while self._free:
            session = self._free.pop()
            if session.is_usable:
                return session
            self._open.discard(session)  # lost while idle
            session.close()
        return None

    async def _turn(self) -> None:
        """Wait until a session is free or may be opened, first come first served."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()  # the turn was given to a request that is gone
            raise

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _opened(self) -> Session:
        self._opening += 1
        try:
            address = make_conninfo(
                self._address.get_secret_value(),
                application_name=APPLICATION_NAME,
                connect_timeout=CONNECT_S,
                **KEEPALIVE,
            )
            connection = await AsyncConnection.connect(
                address, autocommit=True, prepare_threshold=None
            )
            prepare = self._prepare and not await _is_pooled(connection)
        except psycopg.OperationalError as error:
            self._wake()
            raise NoDatabase(str(error)) from None
        finally:
            self._opening -= 1
        session = Session(connection, self._is_repeated if prepare else None)
        self._open.add(session)
        return session

    def _is_repeated(self, key: Key) -> bool:
        """Whether a statement was seen before: a flood of different queries must not evict what is worth keeping."""
        digest = hash(key)  # not the key: thousands of long texts would stay in memory
        if digest in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(digest)
        return False

    def close(self) -> None:
        for session in [*self._open]:
            session.close()
        self._open.clear()
        self._free.clear()


async def _is_pooled(connection: AsyncConnection) -> bool:
    """Transaction pooler: a prepared statement stays with its backend, where another client's has the same name."""
    try:
        return await is_pooled(connection)
    except BaseException:
        await connection.close()
        raise
