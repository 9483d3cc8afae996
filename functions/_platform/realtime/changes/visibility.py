"""Row level security: which rows a role with given claims finds, asked once for all rows of a batch."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, cast

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import TupleRow, tuple_row

from functions._platform.realtime.access import Access
from functions._platform.realtime.changes.pgoutput import Change
from functions._platform.realtime.changes.tables import Column, Table
from functions._shared.database.as_role import become
from functions._shared.database.pool import Pool

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT_MS = 3000
"""Of one question: a slow policy keeps the stream of changes waiting for so long."""
BATCH_MS = 4000
"""All statements of a batch together: the pool's watchdog cuts a connection in use after 5 s."""
BATCH = 100
RIGHTS = """
select asked.role, asked.relation, array(
    select a.attname::text from pg_catalog.pg_attribute as a
    where a.attrelid = asked.relation::oid and a.attnum > 0 and not a.attisdropped
        and pg_catalog.has_column_privilege(r.oid, a.attrelid, a.attnum, 'select')
)
from unnest(%s::text[], %s::int8[]) as asked (role, relation)
join pg_catalog.pg_roles as r on r.rolname = asked.role
"""

Rights = Mapping[tuple[str, int], frozenset[str]]
"""Role, table's oid → the columns that the role may select. A role that is none is left out."""


Found = Mapping[int, Mapping[str, str]]


@dataclass(frozen=True)
class Question:
    """Rows of one table, for everybody with this access. ``rows``: number in the batch → change."""

    table: Table
    role: str
    claims_json: str
    rows: Mapping[int, Change]


@dataclass(frozen=True)
class Answer:
    """``columns``: those that the role may select. ``found``: row → its out-of-line values, as JSON."""

    columns: frozenset[str]
    found: Found


def key_of(access: Access, table: Table) -> tuple[int, str, str]:
    """Equal for subscribers who see the same."""
    return table.oid, access.role, access.claims_json


async def rights_of(pool: Pool, pairs: Iterable[tuple[str, int]]) -> Rights:
    """Pairs of role and table. Raises psycopg.Error."""
    async with pool.connection() as connection:
        return await _rights(await _ask_rights(connection, pairs))


async def answers(pool: Pool, questions: Sequence[Question]) -> list[Answer | None]:
    """In the questions' order; None for one that fails. Raises psycopg.OperationalError."""
    found: list[Answer | None] = []
    for start in range(0, len(questions), BATCH):
        part = questions[start : start + BATCH]
        try:
            found += await _asked_at_once(pool, part)
        except psycopg.Error as error:
            if error.sqlstate is None:
                raise
            found += await _asked_apart(pool, part)
    return found


async def _asked_at_once(pool: Pool, questions: Sequence[Question]) -> list[Answer | None]:
    """Rights and rows in one round trip, which fails where a role must not read a key, or a policy raises."""
    async with pool.connection() as connection, _rolled_back(connection):
        async with connection.pipeline():
            asked = await _ask_rights(connection, _pairs(questions))
            cursors = [await _ask(connection, one, len(questions)) for one in questions]
        rights = await _rights(asked)
        return [
            _answer(question, rights, await _found(question, rows))
            for question, rows in zip(questions, cursors, strict=True)
        ]


async def _asked_apart(pool: Pool, questions: Sequence[Question]) -> list[Answer | None]:
    """Rights first; then the rows of those who may read the key, in halves until one that fails is alone."""
    rights = await rights_of(pool, _pairs(questions))
    able = [number for number, one in enumerate(questions) if _may_ask(one, rights)]
    rows = await _bisected(pool, [questions[number] for number in able])
    found = dict(zip(able, rows, strict=True))
    return [
        _answer(question, rights, found.get(number, {}))
        for number, question in enumerate(questions)
    ]


def _pairs(questions: Iterable[Question]) -> set[tuple[str, int]]:
    return {(question.role, question.table.oid) for question in questions}


def _may_ask(question: Question, rights: Rights) -> bool:
    columns = rights.get((question.role, question.table.oid), frozenset())
    return bool(question.rows) and {column.name for column in question.table.key} <= columns


def _answer(question: Question, rights: Rights, found: Found | None) -> Answer | None:
    columns = rights.get((question.role, question.table.oid))
    return None if columns is None or found is None else Answer(columns, found)


async def _bisected(pool: Pool, questions: Sequence[Question]) -> list[Found | None]:
    if not questions:
        return []
    try:
        async with pool.connection() as connection, _rolled_back(connection):
            async with connection.pipeline():
                cursors = [await _ask(connection, one, len(questions)) for one in questions]
            return [
                await _found(question, rows)
                for question, rows in zip(questions, cursors, strict=True)
            ]
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        refusal = error.sqlstate
    if len(questions) == 1:
        log.warning("realtime: the rows of a subscriber cannot be read: %s", refusal)
        return [None]
    middle = len(questions) // 2
    return [
        *await _bisected(pool, questions[:middle]),
        *await _bisected(pool, questions[middle:]),
    ]


@asynccontextmanager
async def _rolled_back(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """After an error a pipeline has left the transaction open that it was in."""
    try:
        yield
    except psycopg.Error:
        if not connection.closed:
            await connection.rollback()
        raise


async def _ask_rights(
    connection: AsyncConnection[Any], pairs: Iterable[tuple[str, int]]
) -> AsyncCursor[TupleRow]:
    asked = [*pairs]
    cursor = connection.cursor(row_factory=tuple_row)
    await cursor.execute(RIGHTS, [[role for role, _ in asked], [oid for _, oid in asked]])
    return cursor


async def _rights(asked: AsyncCursor[TupleRow]) -> Rights:
    return {(role, oid): frozenset(names) for role, oid, names in await asked.fetchall()}


async def _ask(
    connection: AsyncConnection[Any], question: Question, count: int
) -> AsyncCursor[TupleRow]:
    """A transaction for each, rolled back: settings that a policy's function makes are not seen by the next caller.

    ``count``: of the questions that share the round trip, and its time.
    """
    timeout_ms = min(STATEMENT_TIMEOUT_MS, BATCH_MS // count)
    statement, values = _select(question)
    rows = connection.cursor(row_factory=tuple_row)
    await connection.execute("begin")
    await become(connection, question.role, question.claims_json, statement_timeout=str(timeout_ms))
    await rows.execute(statement, values)
    await connection.execute("rollback")
    return rows


def _select(question: Question) -> tuple[sql.Composed, list[Any]]:
    """The rows by primary key. Out-of-line values are read from the table: the log leaves them out."""
    table, key = question.table, question.table.key
    toasted = _toasted(question)
    names = [sql.Identifier(f"k{number}") for number in range(len(key))]
    arrays: list[list[Any]] = [[*question.rows]]
    arrays += [[change.new.get(column.name) for change in question.rows.values()] for column in key]
    statement = sql.SQL(
        "select k.n{columns} from unnest({arrays}) as k (n{names}) join {table} as t on {equal}"
    ).format(
        columns=sql.SQL("").join(
            sql.SQL(_json_sql(table.columns[name])).format(sql.Identifier(name)) for name in toasted
        ),
        arrays=sql.SQL(", ").join([sql.SQL("%s::int8[]"), *[sql.SQL("%s::text[]")] * len(key)]),
        names=sql.SQL("").join(sql.SQL(", {}").format(name) for name in names),
        table=sql.Identifier(table.schema, table.name),
        equal=sql.SQL(" and ").join(
            sql.SQL("t.{} = k.{}::{}").format(
                sql.Identifier(column.name), name, sql.SQL(cast(Any, column.cast_type))
            )
            for column, name in zip(key, names, strict=True)
        ),
    )
    return statement, arrays


def _json_sql(column: Column) -> LiteralString:
    """As ``values.as_json`` writes it: bytea without \\x."""
    if column.shape.name == "bytea":
        return ", to_json(pg_catalog.encode(t.{}, 'hex'))::text"
    return ", to_json(t.{})::text"


def _toasted(question: Question) -> list[str]:
    every = {name for change in question.rows.values() for name in change.unchanged}
    return sorted(every & question.table.columns.keys())


async def _found(question: Question, rows: AsyncCursor[TupleRow]) -> Found:
    toasted = _toasted(question)
    return {
        row[0]: {name: text or "null" for name, text in zip(toasted, row[1:], strict=True)}
        for row in await rows.fetchall()
    }
