"""Changes by triggers and NOTIFY, where the server has no logical decoding (wal_level) or the login no REPLICATION.

The triggers are made while somebody listens, on the publication's tables, and dropped with the last process that does:
a NOTIFY in every transaction serialises commits. Each tells table, key and operation; the row is read here, so that
several changes in quick succession show the same, newest row.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, LiteralString, cast

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from pydantic import SecretStr

from functions._platform.realtime.changes.pgoutput import Change, Commit, Relation
from functions._platform.realtime.changes.replication import CONNECT_S, OPTIONS, STATUS_S
from functions._platform.realtime.changes.tables import Column, Table, Tables

CHANNEL = "picture_edge_changes"
NAME = "picture_edge_realtime"
LOCK = 7_203_104_417
"""Advisory lock: shared by the processes that listen; the one that gets it alone drops the triggers."""
LOCK_TIMEOUT = "2s"


class TriggerStream:
    """The interface of ``replication.Stream``."""

    slot = None

    def __init__(self, connection: AsyncConnection[DictRow], tables: Tables) -> None:
        self._connection = connection
        self._tables = tables

    @classmethod
    async def open(cls, address: SecretStr, tables: Tables) -> "TriggerStream":
        """Changes that commit after this returns are told. Raises psycopg.Error."""
        connection = await AsyncConnection[DictRow].connect(
            make_conninfo(
                address.get_secret_value(),
                options=OPTIONS,
                connect_timeout=CONNECT_S,
                application_name="picture-edge realtime",
            ),
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        )
        try:
            stream = cls(connection, tables)
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
            await connection.execute("select pg_advisory_lock_shared(%s)", (LOCK,))
            for table in await tables.published("*", "*"):
                if table.key:
                    await stream._watch(table)
        except BaseException:
            await connection.close()
            raise
        return stream

    async def _watch(self, table: Table) -> None:
        async with self._connection.transaction():
            await self._limit_waits()
            await self._connection.execute(
                sql.SQL(
                    "create or replace trigger {} after insert or update or delete on {}"
                    " for each row execute function picture_edge.tell_realtime({})"
                ).format(
                    sql.Identifier(NAME),
                    sql.Identifier(table.schema, table.name),
                    sql.SQL(", ").join(sql.Literal(column.name) for column in table.key),
                )
            )

    async def _limit_waits(self) -> None:
        await self._connection.execute(
            "select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,)
        )

    async def read(self) -> list[Change | Relation | Commit]:
        """What has arrived; nothing after STATUS_S of silence. Raises psycopg.OperationalError."""
        told = [
            json.loads(notify.payload)
            async for notify in self._connection.notifies(timeout=STATUS_S, stop_after=1)
        ]
        rows = await self._rows(told)
        found: list[Change | Relation | Commit] = []
        for number, one in enumerate(told):
            change = Change(one["table"], one["operation"], datetime.fromisoformat(one["at"]))
            change.old = one["old"] or {}
            if change.operation != "DELETE":
                if number not in rows:  # it is gone since, and a DELETE follows
                    continue
                change.new = rows[number]
            found.append(change)
        return found

    async def _rows(self, told: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
        """Number of the notification → the row, its values as text."""
        wanted: defaultdict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(told):
            if one["operation"] != "DELETE":
                wanted[one["table"]].append(number)
        rows: dict[int, dict[str, Any]] = {}
        for oid, numbers in wanted.items():
            table = await self._tables.get(oid)
            if table and table.key:
                rows.update(await self._rows_of(table, {n: told[n]["key"] for n in numbers}))
        return rows

    async def _rows_of(
        self, table: Table, keys: Mapping[int, Mapping[str, str]]
    ) -> dict[int, dict[str, Any]]:
        names = [sql.Identifier(f"k{number}") for number in range(len(table.key))]
        arrays = [[key[column.name] for key in keys.values()] for column in table.key]
        statement = sql.SQL(
            "select k.n as {n}, {columns} from unnest(%s::int8[], {arrays}) as k (n, {names})"
            " join {table} as t on {equal}"
        ).format(
            n=sql.Identifier("\x01"),
            columns=sql.SQL(", ").join(
                sql.SQL(_text_sql(column)).format(sql.Identifier(column.name))
                for column in table.columns.values()
            ),
            arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
            names=sql.SQL(", ").join(names),
            table=sql.Identifier(table.schema, table.name),
            equal=sql.SQL(" and ").join(
                sql.SQL("t.{} = k.{}::{}").format(
                    sql.Identifier(column.name), name, sql.SQL(cast(Any, column.cast_type))
                )
                for column, name in zip(table.key, names, strict=True)
            ),
        )
        cursor = await self._connection.execute(statement, [[*keys], *arrays])
        return {row.pop("\x01"): row for row in await cursor.fetchall()}

    def confirm(self, position: int) -> None:
        """Nothing to confirm: notifications are not kept."""

    async def close(self) -> None:
        """The last process to listen drops the triggers."""
        with suppress(psycopg.Error):
            await self._connection.execute("select pg_advisory_unlock_shared(%s)", (LOCK,))
            cursor = await self._connection.execute(
                "select pg_try_advisory_lock(%s) as alone", (LOCK,)
            )
            row = await cursor.fetchone()
            if row and row["alone"]:
                await self._drop()
        await self._connection.close()

    async def _drop(self) -> None:
        cursor = await self._connection.execute(
            "select n.nspname as schema, c.relname as name from pg_trigger as t join pg_class as c on c.oid = t.tgrelid"
            " join pg_namespace as n on n.oid = c.relnamespace where t.tgname = %s",
            (NAME,),
        )
        for row in await cursor.fetchall():
            async with self._connection.transaction():
                await self._limit_waits()
                await self._connection.execute(
                    sql.SQL("drop trigger if exists {} on {}").format(
                        sql.Identifier(NAME), sql.Identifier(row["schema"], row["name"])
                    )
                )


def _text_sql(column: Column) -> LiteralString:
    """A value's text form, as the log has it. The cast of character(n) to text would strip its padding."""
    if column.shape.name == "bpchar":
        return "case when t.{0} is not null then pg_catalog.concat(t.{0}) end as {0}"
    return "t.{0}::text as {0}"
