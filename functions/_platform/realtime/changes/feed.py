"""The feed of a process: one stream of changes while anybody listens, delivered to all subscribers."""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import AsyncConnection

from functions._platform.realtime.changes.conditions import canonical
from functions._platform.realtime.changes.delivery import Delivery
from functions._platform.realtime.changes.filters import BadBinding, Binding
from functions._platform.realtime.changes.pgoutput import Change, Commit, Relation
from functions._platform.realtime.changes.replication import CONNECT_S, Stream
from functions._platform.realtime.changes.subscriptions import (
    Listener,
    Subscriber,
    Subscriptions,
    is_exact,
)
from functions._platform.realtime.changes.tables import PUBLICATION, Column, Table, Tables
from functions._platform.realtime.changes.triggers import TriggerStream
from functions._platform.realtime.changes.visibility import rights_of
from functions._shared.database.listener import Pooled
from functions._shared.database.pool import Pool
from functions._shared.database.session import is_pooled
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

LINGER_S = 60.0
"""How long the stream stays open without a subscriber: a page that is reloaded subscribes again at once."""
READY_S = 8.0
"""How long a join waits for the stream; a client gives up after 10 s."""
RETRY_S = 1.0
SLOT_S = 4.0
"""How long the creation of a slot may wait for open transactions, before triggers are used instead."""
NO_SLOT = (psycopg.errors.ConfigurationLimitExceeded, psycopg.errors.TooManyConnections)
DELIVER_S = 20.0
"""How long a batch of changes waits for a database that does not answer, before the stream is given up."""
CHUNK = 200
"""Changes that are delivered before the senders of the connections get their turn."""
LOGICAL, TRIGGERS = "logical", "triggers"
SUBSCRIBED = "Subscribed to PostgreSQL"
INTERRUPTED = "The connection to PostgreSQL was lost: changes may have been missed"
CAPABLE = """
select current_setting('wal_level') = 'logical' and (r.rolreplication or r.rolsuper) as capable
from pg_catalog.pg_roles as r where r.rolname = current_user
"""


class Unavailable(Exception):
    """There is no stream now; the client is to join again."""


class Feed:
    """``run`` until cancelled; ``subscribe`` and ``unsubscribe`` from the channels."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._address = settings.supabase_db_direct_url or settings.supabase_db_url
        self._max_lag = settings.realtime_max_wal_mb * 1024 * 1024
        self._pool = pool
        self._tables = Tables(pool)
        self._subscriptions = Subscriptions()
        self._delivery = Delivery(pool, self._tables, self._subscriptions)
        self._ids = itertools.count(random.randrange(1, 1 << 24))  # noqa: S311 - no secret
        self._wanted = asyncio.Event()
        self._open = asyncio.Event()
        self._is_pooled = False
        self._is_makeshift = False
        self._interrupted = False
        self._used_at = time.monotonic()
        self._asked_for = settings.realtime_changes
        self.source: str | None = None
        """LOGICAL or TRIGGERS; None until the database has answered."""
        self.slot: str | None = None
        """The name of the temporary slot while the stream is open."""

    def new_id(self) -> int:
        return next(self._ids)

    async def subscribe(
        self, subscriber: Subscriber, bindings: Sequence[tuple[int, Binding]]
    ) -> None:
        """Changes that commit after this returns are delivered. Raises BadBinding, Unavailable, psycopg.Error."""
        if self._is_pooled:
            raise Unavailable
        listeners = [
            listener
            for number, binding in bindings
            for listener in await self._listeners(subscriber, number, binding)
        ]
        self._subscriptions.add(subscriber, listeners)
        self._wanted.set()
        try:
            async with asyncio.timeout(READY_S):
                await self._open.wait()
        except TimeoutError:
            self.unsubscribe(subscriber)
            raise Unavailable from None
        except asyncio.CancelledError:
            self.unsubscribe(subscriber)
            raise

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Idempotent."""
        self._subscriptions.remove(subscriber)
        if not self._subscriptions.subscribers:
            self._wanted.clear()

    async def _listeners(
        self, subscriber: Subscriber, number: int, binding: Binding
    ) -> list[Listener]:
        if binding.columns is not None and "*" in {binding.schema, binding.table}:
            raise BadBinding(
                "Column selection is not supported for wildcard subscriptions."
                " Provide an explicit schema and table name."
            )
        tables = await self._tables.published(binding.schema, binding.table)
        if not tables:
            raise BadBinding(
                "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given"
                f" connect parameters: [{_shown(binding)}]"
            )
        return [await self._listener(subscriber, number, binding, table) for table in tables]

    async def _listener(
        self, subscriber: Subscriber, number: int, binding: Binding, table: Table
    ) -> Listener:
        equal, rest = None, []
        mine = await self._columns(subscriber, binding, table)
        for condition in binding.conditions:
            column = mine.get(condition.column)
            if column is None:
                raise BadBinding(
                    _excepted(binding, f"invalid column for filter {condition.column}")
                )
            try:
                value = await canonical(self._pool, column, condition)
            except BadBinding as problem:
                raise BadBinding(_excepted(binding, str(problem))) from None
            except (psycopg.DataError, psycopg.ProgrammingError) as error:
                text = error.diag.message_primary or "invalid filter"
                raise BadBinding(_excepted(binding, text)) from None
            is_indexed = condition.operator == "eq" and not condition.negated and is_exact(column)
            if is_indexed and equal is None and value is not None:
                equal = condition.column, value
            else:
                rest.append(condition)
        if (
            not table.key
        ):  # all hear that it has none: a filter would tell of rows that nobody can be asked for
            equal, rest = None, []
        return Listener(number, subscriber, table.oid, binding, equal, tuple(rest))

    async def _columns(
        self, subscriber: Subscriber, binding: Binding, table: Table
    ) -> Mapping[str, Column]:
        """Those that the subscriber may select, where the binding names any."""
        if not binding.conditions and binding.columns is None:
            return table.columns
        role = subscriber.access.role
        allowed = (await rights_of(self._pool, [(role, table.oid)])).get((role, table.oid))
        if allowed is None:
            raise BadBinding(_excepted(binding, f'role "{role}" does not exist'))
        for name in sorted(binding.columns or ()):
            if name not in allowed:
                raise BadBinding(_excepted(binding, f"invalid column for select {name}"))
        return {name: column for name, column in table.columns.items() if name in allowed}

    async def run(self) -> None:
        """Stream while there are subscribers, and reconnect. Ends at a transaction pooler."""
        while True:
            try:
                if self.source is None:
                    await self._refuse_pooler()
                    self.source = await self._chosen()
                    log.info("realtime: changes come from %s", self.source)
                await self._wanted.wait()
                await self._stream()
            except Pooled:
                self._is_pooled = True
                log.warning(
                    "the database is reached through a pooler, which passes no changes on: /realtime/v1 refuses"
                    " postgres_changes. SUPABASE_DB_DIRECT_URL would bring them"
                )
                return
            except (psycopg.Error, OSError) as error:
                log.warning("realtime: the stream of changes is lost: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1))  # noqa: S311 - jitter
            except Exception:  # a change that cannot be read must not end all further ones
                log.exception("realtime: the stream of changes has failed")
                await asyncio.sleep(RETRY_S)
            finally:
                self._open.clear()
                self.slot = None
                if self._is_makeshift:
                    self._is_makeshift, self.source = False, None

    async def _refuse_pooler(self) -> None:
        """Raises Pooled: behind a pooler LISTEN hears nothing, and its session would keep the triggers' lock."""
        async with await AsyncConnection.connect(
            self._address.get_secret_value(),
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_S,
            application_name="picture-edge realtime",
        ) as connection:
            if await is_pooled(connection):
                raise Pooled

    async def _chosen(self) -> str:
        """Logical decoding where the server and the login allow it, unless REALTIME_CHANGES names one."""
        if self._asked_for != "auto":
            return self._asked_for
        async with self._pool.connection() as connection:
            cursor = await connection.execute(CAPABLE)
            row = await cursor.fetchone()
        return LOGICAL if row and row["capable"] else TRIGGERS

    async def _opened(self) -> Stream | TriggerStream:
        if self.source == TRIGGERS:
            return await TriggerStream.open(self._address, self._tables)
        limit_s = SLOT_S if self._asked_for == "auto" else None
        try:
            async with asyncio.timeout(limit_s):
                return await Stream.open(self._address, PUBLICATION, self._max_lag)
        except (TimeoutError, *NO_SLOT) as error:
            if self._asked_for != "auto":
                raise
            # A slot waits for all transactions that are open; the server's slots and senders are limited.
            log.warning(
                "realtime: no replication slot (%s): changes come from triggers for now",
                getattr(error, "sqlstate", None) or "a transaction is open for long",
            )
            self._is_makeshift, self.source = True, TRIGGERS
            return await TriggerStream.open(self._address, self._tables)

    async def _stream(self) -> None:
        stream = await self._opened()
        try:
            self.slot = stream.slot
            self._open.set()
            if self._interrupted:
                self._interrupted = False
                self._tell("ok", SUBSCRIBED)
            while not self._is_idle():
                await self._delivered(stream, await stream.read())
        except Exception:
            self._interrupted = True
            self._tell("error", INTERRUPTED)
            raise
        finally:
            await stream.close()

    def _is_idle(self) -> bool:
        now = time.monotonic()
        if self._wanted.is_set():
            self._used_at = now
        return now - self._used_at > LINGER_S

    async def _delivered(
        self, stream: Stream | TriggerStream, messages: Sequence[Change | Relation | Commit]
    ) -> None:
        pending: list[Change] = []
        for message in messages:
            if isinstance(message, Change):
                pending.append(message)
            if pending and (len(pending) >= CHUNK or isinstance(message, Relation)):
                await self._deliver(pending)
                pending = []
            if isinstance(message, Relation):
                self._tables.forget(message.table)
        if pending:
            await self._deliver(pending)
        commits = [message.end for message in messages if isinstance(message, Commit)]
        if commits:
            stream.confirm(commits[-1])

    async def _deliver(self, changes: Sequence[Change]) -> None:
        """Again, while the database does not answer: nothing of the batch has been sent yet."""
        until = time.monotonic() + DELIVER_S
        while True:
            try:
                await self._delivery.deliver(changes)
                break
            except psycopg.OperationalError as error:
                if time.monotonic() > until:
                    raise
                log.warning("realtime: changes wait for the database: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S * random.uniform(0.1, 0.5))  # noqa: S311 - jitter
        await asyncio.sleep(0)

    def _tell(self, status: str, message: str) -> None:
        for subscriber in [*self._subscriptions.subscribers]:
            subscriber.told(status, message)


def _excepted(binding: Binding, text: str) -> str:
    return (
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect"
        f" parameters: [{_shown(binding)}]. Exception: {text}"
    )


def _shown(binding: Binding) -> str:
    filters = [(one.column, one.operator, one.value, one.negated) for one in binding.conditions]
    return f"event: {binding.event}, schema: {binding.schema}, table: {binding.table}, filters: {filters}"
