"""A dedicated connection: kept open for one user, so that a call costs no checkout and no planning of its statement.

Statements are prepared at their first use, except behind a transaction pooler, whose sessions change hands.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from functions._shared.database.pool import Pool, is_alive
from functions._shared.database.session import is_pooled

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""After a connect that failed, calls go through the pool for so long: it may have the last connections there are."""


class Connections(Protocol):
    """Where a call gets its connection: a Pool, or a Dedicated one."""

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[DictRow]]: ...


class Dedicated:
    """One connection beside ``pool``: opened at the first use, replaced when it has died, closed with the pool.

    Concurrent calls wait for each other.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._one_at_a_time = asyncio.Lock()
        self._connection: AsyncConnection[DictRow] | None = None
        self._retry_at = 0.0
        self.backend_pid: int | None = None
        """The server's process of the last connection, as NOTIFY names its sender; None where a pooler hides it."""
        pool.at_close(self.close)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Raises psycopg.Error where neither a connection of its own nor one of the pool can be had."""
        async with self._one_at_a_time:
            own = await self._live()
            if own is None:
                async with self._pool.connection() as shared:
                    yield shared
                return
            try:
                with self._pool.watched(own):
                    yield own
            except psycopg.errors.ReadOnlySqlTransaction:
                await own.close()  # a standby since a failover: the next one reaches the primary
                raise

    async def close(self) -> None:
        async with self._one_at_a_time:
            if self._connection:
                await self._connection.close()

    async def _live(self) -> AsyncConnection[DictRow] | None:
        """The connection, alive; None while none can be had."""
        if self._connection and await is_alive(self._connection):
            return self._connection
        if time.monotonic() < self._retry_at:
            return None
        if self._connection:
            await self._connection.close()
        try:
            self._connection = await self._open()
        except psycopg.Error as error:
            log.debug("no dedicated connection: %s", type(error).__name__)
            self._connection = None
            self._retry_at = time.monotonic() + RETRY_S
        return self._connection

    async def _open(self) -> AsyncConnection[DictRow]:
        connection = await self._pool.connect()
        try:
            with self._pool.watched(connection):
                pooled = await is_pooled(connection)
        except BaseException:  # a cancellation too, at a stop: nobody else would close it
            await connection.close()
            raise
        connection.prepare_threshold = None if pooled else 0
        self.backend_pid = None if pooled else connection.info.backend_pid
        return connection
