"""The page's way to the database: bounded reads in one snapshot, and calls of the operators' SQL functions.

Nothing else of the page writes: what an operator does here is what he would do in psql, and the same line of
operator_log.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.abc import Buffer
from psycopg.rows import DictRow
from psycopg.types.datetime import TimestamptzLoader

from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import refused
from functions._shared.errors import Forbidden, FunctionError, InvalidRequest, Unavailable

READ_MS = 2000
"""statement_timeout of a page's query: a hostile filter costs this much at most."""
ACT_MS = 4000
SIDE_BY_SIDE = 3
"""Bulkhead: connections of the pool that pages use at once; the queue and the API have the others."""
WAIT_S = 5.0
"""How long a page waits for its turn behind others; while the database is away they would queue up without end."""
MAX_NOTICES = 20
REFUSALS: Mapping[str, type[FunctionError]] = {"PT400": InvalidRequest, "PT403": Forbidden}
"""What operators' functions answer beyond what ``refused`` knows."""
FIRST, LAST = datetime(MINYEAR, 1, 1, tzinfo=UTC), datetime(MAXYEAR, 12, 31, tzinfo=UTC)
"""What stands for -infinity and infinity."""
Values = Mapping[str, Any]


class AnyTime(TimestamptzLoader):
    """Times that Python has no datetime for, which plain SQL may write: the first or the last that it has instead."""

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            text = bytes(data)
            return FIRST if text.startswith(b"-") or text.endswith(b"BC") else LAST


class Reader:
    """Queries in one read-only transaction."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def rows(self, query: LiteralString, values: Values | None = None) -> list[DictRow]:
        return await (await self._execute(query, values)).fetchall()

    async def row(self, query: LiteralString, values: Values | None = None) -> DictRow | None:
        return await (await self._execute(query, values)).fetchone()

    async def _execute(self, query: LiteralString, values: Values | None) -> AsyncCursor[DictRow]:
        cursor = self._connection.cursor()
        cursor.adapters.register_loader("timestamptz", AnyTime)
        return await cursor.execute(query.encode(), values)


@dataclass(frozen=True)
class Done:
    """``value``: what the function returned. ``said``: its NOTICEs, in order."""

    value: Any
    said: tuple[str, ...]


class OperateDatabase:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._gate = asyncio.Semaphore(SIDE_BY_SIDE)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of SIDE_BY_SIDE. Raises Unavailable."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._gate.acquire()
        except TimeoutError:
            raise Unavailable("Too many pages are read at this moment: try again") from None
        try:
            yield
        finally:
            self._gate.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """A read-only transaction with a statement timeout. Raises psycopg.Error; Unavailable after the timeout."""
        async with self._turn(), self._pool.connection() as connection, connection.transaction():
            await connection.execute(
                "select set_config('statement_timeout', %s, true),"
                " set_config('transaction_read_only', 'on', true), set_config('jit', 'off', true)",
                (str(READ_MS),),
            )
            try:
                yield Reader(connection)
            except psycopg.errors.QueryCanceled:
                raise Unavailable(
                    f"The database has not answered within {READ_MS // 1000} s: filter for less, or try again"
                ) from None

    async def act(self, operator: str, call: LiteralString, values: Values) -> Done:
        """Run ``call``, a select of one SQL function, in the name ``operator``. Raises FunctionError, psycopg.Error."""
        said: list[str] = []

        def note(diagnostic: psycopg.errors.Diagnostic) -> None:
            if len(said) < MAX_NOTICES and diagnostic.message_primary:
                said.append(diagnostic.message_primary)

        async with self._turn(), refused(), self._pool.connection() as connection:
            connection.add_notice_handler(note)
            try:
                async with connection.transaction():
                    await connection.execute(
                        "select set_config('picture_edge.operator', %s, true),"
                        " set_config('statement_timeout', %s, true)",
                        (operator, str(ACT_MS)),
                    )
                    row = await (await connection.execute(call.encode(), values)).fetchone()
            except psycopg.errors.QueryCanceled:
                raise Unavailable(
                    f"Not done: the database has not answered within {ACT_MS // 1000} s. Try fewer at once"
                ) from None
            except psycopg.Error as error:
                refusal = REFUSALS.get(error.sqlstate or "")
                if refusal is None:
                    raise
                raise refusal(str(error.diag.message_primary)) from None
            finally:
                connection.remove_notice_handler(note)
        return Done(next(iter(row.values())) if row else None, tuple(said))
