"""Filters that PostgreSQL decides: its operators, collations and casts, many comparisons in one statement."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import psycopg
from psycopg import sql

from functions._platform.realtime.changes.filters import OPERATORS, Condition
from functions._platform.realtime.changes.tables import Column
from functions._shared.database.pool import Pool

MAX_COMPARISONS = 500
"""Comparisons of one statement."""

Comparison = tuple[Condition, str, str | None]
"""A condition, its column's type as SQL writes it, and the row's value."""


async def canonical(pool: Pool, column: Column, condition: Condition) -> str | None:
    """The filter's value as the log writes it; for ``in`` an array's. Raises psycopg.Error where it cannot be cast."""
    if condition.operator == "is":
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
        # Also that the operator exists for the type, as LIKE does not for numbers.
        await connection.execute(
            sql.SQL("select {}").format(_comparison((condition, column.cast_type, None)))
        )
    return str(row["it"]) if row else None


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
        async with pool.connection() as connection:
            cursor = await connection.execute(statement)
            row = await cursor.fetchone()
    except (
        psycopg.DataError
    ):  # such as a pattern that is no regular expression for one of the values
        if len(part) == 1:
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
