"""Filters that PostgreSQL decides: its operators, collations and casts, many comparisons in one statement."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, cast

import psycopg
from psycopg import sql

from functions._platform.realtime.changes.filters import OPERATORS, BadBinding, Condition
from functions._platform.realtime.changes.tables import Column
from functions._shared.database.pool import Pool

log = logging.getLogger(__name__)

MAX_COMPARISONS = 500
"""Comparisons of one statement."""
MAX_IN = 100
"""Values of an ``in`` filter, as with Supabase: they are compared with each row that changes."""
STATEMENT_TIMEOUT = "500ms"
"""Against patterns that backtrack without end (ReDoS)."""

Comparison = tuple[Condition, str, str | None]
"""A condition, its column's type as SQL writes it, and the row's value."""


async def canonical(pool: Pool, column: Column, condition: Condition) -> str | None:
    """The filter's value as the log writes it; for ``in`` an array's.

    Raises psycopg.Error where it cannot be cast, or the type has no such operator; BadBinding for more than MAX_IN.
    """
    if condition.operator == "is":
        value = condition.value.lower()
        if value != "null" and column.type != "bool":
            raise BadBinding(f"is {value} filter requires a boolean column, got {column.told_type}")
        return None
    suffix = "[]" if condition.operator == "in" else ""
    type_sql = sql.SQL(cast(Any, f"{column.cast_type}{suffix}"))  # of format_type
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(
            "select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true)"
        )
        cursor = await connection.execute(
            sql.SQL("select %s::text::{}::text as it").format(type_sql), (condition.value,)
        )
        row = await cursor.fetchone()
        if suffix:
            await _limit(connection, condition, type_sql)
        await _try(connection, condition, column)
    return str(row["it"]) if row else None


async def _try(
    connection: psycopg.AsyncConnection[Any], condition: Condition, column: Column
) -> None:
    """Whether the operator exists for the type, as LIKE does not for numbers; and a pattern is one."""
    try:
        await connection.execute(
            sql.SQL("select {}").format(_comparison((condition, column.cast_type, None)))
        )
        if condition.operator in {"match", "imatch"}:
            await connection.execute("select '' ~ %s::text", (condition.value,))
    except psycopg.errors.UndefinedFunction:
        raise BadBinding(
            f"operator {condition.operator} requires a text-compatible column type, got {column.told_type}"
        ) from None
    except psycopg.errors.InvalidRegularExpression as error:
        raise BadBinding(
            f"invalid regular expression for {condition.operator} filter: {error.diag.message_primary}"
        ) from None


async def _limit(
    connection: psycopg.AsyncConnection[Any], condition: Condition, type_sql: sql.SQL
) -> None:
    cursor = await connection.execute(
        sql.SQL("select cardinality(%s::text::{}) as n").format(type_sql), (condition.value,)
    )
    row = await cursor.fetchone()
    if row and row["n"] > MAX_IN:
        raise BadBinding(f"too many values for `in` filter. Maximum {MAX_IN}")


async def holding(pool: Pool, asked: Iterable[Comparison]) -> Mapping[Comparison, bool]:
    """Which comparisons hold; one with null does not. Raises psycopg.Error."""
    different = list(dict.fromkeys(asked))
    answers: dict[Comparison, bool] = {}
    for start in range(0, len(different), MAX_COMPARISONS):
        part = different[start : start + MAX_COMPARISONS]
        answers.update(await _holding(pool, part))
    return answers


async def _holding(pool: Pool, part: list[Comparison]) -> dict[Comparison, bool]:
    statement = sql.SQL("select array[{}] as it").format(sql.SQL(", ").join(map(_comparison, part)))
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                "select set_config('statement_timeout', %s, true)", (STATEMENT_TIMEOUT,)
            )
            cursor = await connection.execute(statement)
            row = await cursor.fetchone()
    except psycopg.Error as error:
        # One filter must not stop the changes of all: a pattern may take for ever, a type have lost its operator.
        if error.sqlstate is None:
            raise
        if len(part) == 1:
            log.warning("realtime: a filter cannot be evaluated: %s", error.sqlstate)
            return {part[0]: False}
        halves = part[: len(part) // 2], part[len(part) // 2 :]
        return {**await _holding(pool, halves[0]), **await _holding(pool, halves[1])}
    return {one: bool(holds) for one, holds in zip(part, row["it"] if row else (), strict=True)}


def _comparison(comparison: Comparison) -> sql.Composable:
    condition, type_name, value = comparison
    type_sql = sql.SQL(cast(Any, type_name))  # of format_type
    operator = sql.SQL(cast(Any, OPERATORS[condition.operator]))
    if condition.operator == "is":
        right: sql.Composable = sql.SQL(cast(Any, condition.value.lower()))  # one of IS
    elif condition.operator == "in":
        right = sql.SQL("({}::{}[])").format(sql.Literal(condition.value), type_sql)
    else:
        right = sql.SQL("{}::{}").format(sql.Literal(condition.value), type_sql)
    left = sql.SQL("{}::{}").format(sql.Literal(value), type_sql)
    whole = sql.SQL("({} {} {})").format(left, operator, right)
    return sql.SQL("(not {})").format(whole) if condition.negated else whole
