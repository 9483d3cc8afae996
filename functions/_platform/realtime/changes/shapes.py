"""How the text form of a type is built: arrays, composite types and domains, down to their scalars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

SHAPES = """
with recursive reached (oid) as (
    select a.atttypid from pg_catalog.pg_attribute as a
    where a.attrelid = %s::int8::oid and a.attnum > 0 and not a.attisdropped
    union
    select parts.oid from reached
    join pg_catalog.pg_type as t on t.oid = reached.oid
    cross join lateral (
        select t.typbasetype as oid where t.typtype = 'd'
        union all
        select t.typelem where t.typcategory = 'A' and t.typtype = 'b'
        union all
        select a.atttypid from pg_catalog.pg_attribute as a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) as parts
)
select t.oid::int8 as oid, t.typname as name, t.typdelim::text as delimiter,
    t.typname in ('int2vector', 'oidvector') as is_vector,
    case t.typtype when 'd' then t.typbasetype::int8 end as base,
    case when t.typcategory = 'A' and t.typtype = 'b' then t.typelem::int8 end as element,
    case t.typtype when 'c' then (
        select coalesce(json_agg(json_build_array(a.attname, a.atttypid::int8) order by a.attnum), '[]'::json)
        from pg_catalog.pg_attribute as a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) end as fields
from reached join pg_catalog.pg_type as t on t.oid = reached.oid
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """``name``: the type's short name, of a domain that of the type below it. ``delimiter``: between array elements.

    ``element``: of an array; ``is_vector``: its text has no braces (int2vector). ``fields``: of a composite type.
    """

    name: str
    delimiter: str = ","
    element: "Shape | None" = None
    is_vector: bool = False
    fields: "tuple[tuple[str, Shape], ...] | None" = None


async def shapes_of(connection: AsyncConnection[DictRow], table: int) -> Mapping[int, Shape]:
    """Type oid → shape, for the types of the table's columns. Raises psycopg.Error."""
    cursor = await connection.execute(SHAPES, (table,))
    rows = {int(row["oid"]): row for row in await cursor.fetchall()}
    known: dict[int, Shape] = {}
    for oid in rows:
        _shape(oid, rows, known)
    return known


def _shape(oid: int, rows: Mapping[int, Mapping[str, Any]], known: dict[int, Shape]) -> Shape:
    """PostgreSQL allows no composite type that contains itself, so the recursion ends."""
    if oid in known:
        return known[oid]
    row = rows[oid]
    if row["base"]:
        shape = _shape(row["base"], rows, known)
    else:
        shape = Shape(
            row["name"],
            row["delimiter"],
            _shape(row["element"], rows, known) if row["element"] else None,
            row["is_vector"],
            _fields(row["fields"], rows, known),
        )
    known[oid] = shape
    return shape


def _fields(
    pairs: list[tuple[str, int]] | None,
    rows: Mapping[int, Mapping[str, Any]],
    known: dict[int, Shape],
) -> tuple[tuple[str, Shape], ...] | None:
    if pairs is None:
        return None
    return tuple((name, _shape(oid, rows, known)) for name, oid in pairs)
