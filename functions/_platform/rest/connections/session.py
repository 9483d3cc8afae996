"""One connection in libpq's pipeline mode: several statements, one round trip, one transaction.

All statements up to a Sync are one implicit transaction: an error rolls back all of them, and settings made with
``set_config(…, true)`` end with it. BEGIN is needed only for an isolation level, or where the result decides the end.
psycopg's own ``execute`` must not be used on a session: it does not know of the pipeline.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from functions._platform.rest.sql.fragment import Statement

MAX_PREPARED = 128
"""Prepared statements of a connection (LRU)."""
MAX_PREPARED_BYTES = 128 * 1024
"""Their text in all. The backend keeps each one's plan: about a kilobyte for two bytes of text, a gigabyte for 128
statements of a hundred embeds."""
MAX_STATEMENT_BYTES = 8 * 1024
"""Longer statements are not prepared: one would evict many, and its plan costs less to make than its execution."""
CANCEL_S = 5.0
STALE = frozenset({"0A000", "26000"})
"""SQLSTATEs of a prepared statement that serves no longer: its result's type has changed (a function was replaced), or
a pooler has dropped it. Both have other causes, too; a needless reconnect costs a few milliseconds.
"""

READ_ONLY = "25006"
"""read_only_sql_transaction: of a GET that writes, too."""

Key = tuple[bytes, tuple[int, ...]]
"""A statement's text and its parameters' types."""


class Session:
    """Not for concurrent use. ``worth_preparing``: asked before a statement is prepared that this session has not."""

    def __init__(
        self, connection: AsyncConnection, worth_preparing: Callable[[Key], bool] | None
    ) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._libpq.enter_pipeline_mode()
        self._worth_preparing = worth_preparing
        self._prepared: OrderedDict[Key, bytes] = OrderedDict()
        self._prepared_bytes = 0
        self._evicted: list[bytes] = []
        self._names = 0
        self._closed = False
        self._is_stale = False
        self._results: list[PGresult] = []
        self._waiter: asyncio.Future[list[PGresult]] | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = self._libpq.socket
        # One reader for the connection's life: adding one per request costs more than the request's own bookkeeping.
        self._loop.add_reader(self._socket, self._readable)

    @property
    def is_usable(self) -> bool:
        """False once the connection is lost, also while idle, its transaction's end is unknown, or it is stale."""
        return (
            not (self._closed or self._is_stale)
            and self._libpq.status == ConnStatus.OK
            and self._waiter is None
            and self._libpq.transaction_status == TransactionStatus.IDLE
        )

    @property
    def _is_on_standby(self) -> bool:
        return self._libpq.parameter_status(b"in_hot_standby") == b"on"

    @property
    def is_in_transaction(self) -> bool:
        states = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
        return not self._closed and self._libpq.transaction_status in states

    async def run(self, statements: Sequence[Statement]) -> list[PGresult]:
        """The results that have rows, in order. Raises psycopg.Error: the first one, or OperationalError."""
        steps: list[Key | None] = [None] * len(self._evicted)
        # First in the pipeline: behind an error the server skips them, and would keep the statements for good.
        while self._evicted:
            self._libpq.send_close_prepared(self._evicted.pop())
        for statement in statements:
            self._send(statement, steps)
        self._libpq.pipeline_sync()
        if self._libpq.flush():  # the socket's buffer is full: a long body
            self._loop.add_writer(self._socket, self._writable)
        self._results, self._waiter = [], self._loop.create_future()
        results = await self._waiter
        self._waiter = None
        return self._checked(steps, results)

    def _checked(self, steps: list[Key | None], results: list[PGresult]) -> list[PGresult]:
        # One result per step, also after an error; an error of the implicit commit (deferred constraints) is one more.
        for key, result in zip(steps, results, strict=False):
            if key is not None and result.status != ExecStatus.COMMAND_OK:
                self._forget(key)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                error = error_from_result(result, encoding="utf-8")
                self._is_stale = bool(self._prepared) and error.sqlstate in STALE
                if error.sqlstate == READ_ONLY and self._is_on_standby:
                    # After a failover new connections reach the primary, and this one would stay here for good.
                    self._is_stale = True
                    raise psycopg.OperationalError("the server is a standby")
                raise error
        return [result for result in results if result.status == ExecStatus.TUPLES_OK]

    def _send(self, statement: Statement, steps: list[Key | None]) -> None:
        """Queue ``statement``. Adds to ``steps`` one entry per expected result: what it prepares, or None."""
        text, values = statement
        data = [value.data for value in values]
        formats = [int(value.binary) for value in values]
        key = text, tuple(value.type for value in values)
        name = self._prepared.get(key)
        if name is not None:
            self._prepared.move_to_end(key)
        elif not self._prepares(key):
            steps.append(None)
            self._libpq.send_query_params(text, data, key[1], formats, 1)
            return
        else:
            name = self._prepare(key, steps)
        steps.append(None)
        self._libpq.send_query_prepared(name, data, formats, 1)

    def _prepares(self, key: Key) -> bool:
        return (
            self._worth_preparing is not None
            and len(key[0]) <= MAX_STATEMENT_BYTES
            and self._worth_preparing(key)
        )

    def _prepare(self, key: Key, steps: list[Key | None]) -> bytes:
        while self._prepared and (
            len(self._prepared) >= MAX_PREPARED
            or self._prepared_bytes + len(key[0]) > MAX_PREPARED_BYTES
        ):
            self._evicted.append(self._forget(next(iter(self._prepared))))
        self._names += 1  # no name twice: whether a failed one was prepared does not matter
        name = self._prepared[key] = b"r%d" % self._names
        self._prepared_bytes += len(key[0])
        self._libpq.send_prepare(name, key[0], key[1])
        steps.append(key)
        return name

    def _forget(self, key: Key) -> bytes:
        self._prepared_bytes -= len(key[0])
        return self._prepared.pop(key)

    def _readable(self) -> None:
        try:
            self._libpq.consume_input()
            self._read()
        except psycopg.OperationalError as error:  # EOF, also of an idle connection
            self._lost(self._last_words() or error)

    def _last_words(self) -> psycopg.Error | None:
        """The error by which the server said why it ends the connection, such as admin_shutdown."""
        try:
            self._read()
        except psycopg.OperationalError:
            pass
        said = [result for result in self._results if result.status == ExecStatus.FATAL_ERROR]
        return error_from_result(said[0], encoding="utf-8") if said else None

    def _read(self) -> None:
        """Take what has arrived. NULL ends each statement's results; a second one says that there is no more yet."""
        ended = False
        while not self._libpq.is_busy():
            result = self._libpq.get_result()
            if result is None:
                if ended:
                    return
                ended = True
                continue
            ended = False
            if result.status == ExecStatus.PIPELINE_SYNC:
                if self._waiter and not self._waiter.done():
                    self._waiter.set_result(self._results)
                return
            self._results.append(result)

    def _writable(self) -> None:
        try:
            if self._libpq.flush() == 0:
                self._loop.remove_writer(self._socket)
        except psycopg.OperationalError as error:
            self._lost(error)

    def _lost(self, error: psycopg.Error) -> None:
        self.close()
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(error)

    def close(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        # Before the socket is closed: its number may be another connection's a moment later.
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._libpq.finish()

    async def abandon(self) -> None:
        """Close a session whose statement may still run, and cancel that."""
        try:
            await self._connection.cancel_safe(timeout=CANCEL_S)
        except (psycopg.Error, OSError):
            pass  # the server ends the statement when it notices the closed socket
        self.close()
