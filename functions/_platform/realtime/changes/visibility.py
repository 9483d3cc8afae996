"""Row level security: which rows a role with given claims finds, asked once for all rows of a batch."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import TupleRow, tuple_row

from functions._platform.realtime.access import Access
from functions._platform.realtime.changes.pgoutput import Change
from functions._platform.realtime.changes.tables import Table
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


async def rights_of(pool: Pool, asked: Iterable[tuple[str, int]]) -> Rights:
    """Pairs of role and table. Raises psycopg.Error."""
    pairs = [*asked]
    async with pool.connection() as connection:
        cursor = connection.cursor(row_factory=tuple_row)
        await cursor.execute(RIGHTS, [[role for role, _ in pairs], [oid for _, oid in pairs]])
        return {(role, oid): frozenset(names) for role, oid, names in await cursor.fetchall()}


async def answers(pool: Pool, questions: Sequence[Question]) -> list[Answer | None]:
    """In the questions' order; None for one that fails. Raises psycopg.OperationalError."""
    pairs = {(question.role, question.table.oid) for question in questions}
    rights = await rights_of(pool, pairs)
    found: list[Answer | None] = []
    asked: list[tuple[int, Question]] = []
    for number, question in enumerate(questions):
        columns = rights.get((question.role, question.table.oid))
        found.append(None if columns is None else Answer(columns, {}))
        may_ask = columns is not None and {column.name for column in question.table.key} <= columns
        if question.rows and may_ask:
            asked.append((number, question))
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        rows = await _bisected(pool, [question for _, question in part])
        for (number, _), one in zip(part, rows, strict=True):
            before = found[number]
            found[number] = Answer(before.columns, one) if before and one is not None else None
    return found


async def _bisected(pool: Pool, questions: Sequence[Question]) -> list[Found | None]:
    """One round trip, or, where a question fails, halves until it is alone."""
    try:
        return [*await _asked(pool, questions)]
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


async def _asked(pool: Pool, questions: Sequence[Question]) -> list[Found]:
    timeout_ms = min(STATEMENT_TIMEOUT_MS, BATCH_MS // len(questions))
    async with pool.connection() as connection:
        cursors = []
        try:
            async with connection.pipeline():
                for question in questions:
                    cursors.append(await _ask(connection, question, timeout_ms))
        except psycopg.Error:
            await connection.rollback()
            raise
        return [
            await _found(question, rows) for question, rows in zip(questions, cursors, strict=True)
        ]


async def _ask(
    connection: AsyncConnection[Any], question: Question, timeout_ms: int
) -> AsyncCursor[TupleRow]:
    """A transaction for each, rolled back: settings that a policy's function makes are not seen by the next caller."""
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
            sql.SQL(", to_json(t.{})::text").format(sql.Identifier(name)) for name in toasted
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


def _toasted(question: Question) -> list[str]:
    every = {name for change in question.rows.values() for name in change.unchanged}
    return sorted(every & question.table.columns.keys())


async def _found(question: Question, rows: AsyncCursor[TupleRow]) -> Found:
    toasted = _toasted(question)
    return {
        row[0]: {name: text or "null" for name, text in zip(toasted, row[1:], strict=True)}
        for row in await rows.fetchall()
    }
