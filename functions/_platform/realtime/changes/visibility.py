"""Row level security: which rows a role with given claims finds, asked once for all rows of a batch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import TupleRow, tuple_row

from functions._platform.realtime.access import Access
from functions._platform.realtime.changes.pgoutput import Change
from functions._platform.realtime.changes.tables import Table
from functions._shared.database.pool import Pool

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT_MS = 3000
AS_CALLER = """
select array(
    select a.attname::text from pg_catalog.pg_attribute as a
    where a.attrelid = %(table)s::int8::oid and a.attnum > 0 and not a.attisdropped
        and pg_catalog.has_column_privilege(%(role)s, a.attrelid, a.attnum, 'select')
)
"""
"""Asked before the role is assumed: the catalogue is the same for all."""
BECOME = (
    "select set_config('role', %(role)s, true), set_config('request.jwt.claims', %(claims)s, true)"
)


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
    found: Mapping[int, Mapping[str, str]]


def key_of(access: Access, table: Table) -> tuple[int, str, str]:
    """Equal for subscribers who see the same."""
    return table.oid, access.role, access.claims_json


async def answers(pool: Pool, questions: Sequence[Question]) -> list[Answer | None]:
    """In the questions' order, in one round trip; None for one that fails. Raises psycopg.OperationalError."""
    try:
        return [*await _asked(pool, questions)]
    except psycopg.OperationalError as error:
        if error.sqlstate is None:
            raise
        refusal: psycopg.Error = error
    except psycopg.Error as error:
        refusal = error
    if len(questions) == 1:
        log.warning("realtime: the rows of a subscriber cannot be read: %s", refusal.sqlstate)
        return [None]
    return [(await answers(pool, [question]))[0] for question in questions]


async def _asked(pool: Pool, questions: Sequence[Question]) -> list[Answer]:
    async with pool.connection() as connection:
        cursors = []
        async with connection.pipeline(), connection.transaction():
            await connection.execute(
                "select set_config('statement_timeout', %s, true)", (str(STATEMENT_TIMEOUT_MS),)
            )
            for question in questions:
                cursors.append(await _ask(connection, question))
        return [
            await _answer(question, *pair)
            for question, pair in zip(questions, cursors, strict=True)
        ]


async def _ask(
    connection: AsyncConnection[Any], question: Question
) -> tuple[AsyncCursor[TupleRow], AsyncCursor[TupleRow]]:
    mine = {
        "role": question.role,
        "claims": question.claims_json,
        "table": question.table.oid,
    }
    rights, rows = (
        connection.cursor(row_factory=tuple_row),
        connection.cursor(row_factory=tuple_row),
    )
    await connection.execute("reset role")
    await rights.execute(AS_CALLER, mine)
    await connection.execute(BECOME, mine)
    statement, values = _select(question)
    await rows.execute(statement, values)
    return rights, rows


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


async def _answer(
    question: Question, rights: AsyncCursor[TupleRow], rows: AsyncCursor[TupleRow]
) -> Answer:
    allowed = await rights.fetchone()
    toasted = _toasted(question)
    found = {
        row[0]: {name: text or "null" for name, text in zip(toasted, row[1:], strict=True)}
        for row in await rows.fetchall()
    }
    return Answer(frozenset(allowed[0] if allowed else ()), found)
