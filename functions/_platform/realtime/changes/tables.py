"""The published tables: what a change's record needs of the catalogue, kept until the log says that a table changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions._platform.realtime.changes.shapes import Shape, shapes_of
from functions._shared.database.pool import Pool

PUBLICATION = "supabase_realtime"
PUBLISHED = """
select c.oid::int8 as oid, n.nspname as schema, c.relname as table
from pg_catalog.pg_publication_tables as p
join pg_catalog.pg_namespace as n on n.nspname = p.schemaname
join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = p.tablename
where p.pubname = %s and %s::text in ('*', n.nspname::text) and %s::text in ('*', c.relname::text)
"""
COLUMNS = """
select n.nspname as schema, c.relname as table, c.relrowsecurity as secured, a.attname as name, t.typname as type,
    a.atttypid::int8 as type_oid, pg_catalog.format_type(a.atttypid, null) as told_type,
    -- Without a length: "character" means character(1), while a type modifier of -1 gives bpchar.
    pg_catalog.format_type(a.atttypid, -1) as cast_type, t.typtype = 'e' as is_enum,
    coalesce(a.attnum = any (i.indkey::int2[]), false) as is_key
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type as t on t.oid = a.atttypid
left join pg_catalog.pg_index as i on i.indrelid = c.oid and i.indisprimary
where c.oid = %s::int8::oid order by a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """``type``: the type's short name (int4, _text). ``cast_type``: as a cast writes it. ``told_type``: in messages."""

    name: str
    type: str
    type_oid: int
    shape: Shape
    cast_type: str
    told_type: str
    is_key: bool
    is_enum: bool


@dataclass(frozen=True, slots=True)
class Table:
    """``secured``: row level security is on."""

    oid: int
    schema: str
    name: str
    secured: bool
    columns: Mapping[str, Column]

    @property
    def key(self) -> Sequence[Column]:
        return [column for column in self.columns.values() if column.is_key]


class Tables:
    """A cache by oid."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[int, Table | None] = {}

    def forget(self, oid: int) -> None:
        self._known.pop(oid, None)

    async def published(self, schema: str, table: str) -> list[Table]:
        """The tables that a binding means; ``*`` means all. Raises psycopg.Error."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(PUBLISHED, (PUBLICATION, schema, table))
            oids = [int(row["oid"]) for row in await cursor.fetchall()]
        # Read again: the log tells of a changed table only while it is read.
        found = [await self._read(oid) for oid in oids]
        return [table for table in found if table]

    async def get(self, oid: int) -> Table | None:
        """None once it is dropped. Raises psycopg.Error."""
        return self._known[oid] if oid in self._known else await self._read(oid)

    async def _read(self, oid: int) -> Table | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(COLUMNS, (oid,))
            rows = await cursor.fetchall()
            table = self._known[oid] = _table(oid, rows, await shapes_of(connection, oid))
        return table


def _table(
    oid: int, rows: Sequence[Mapping[str, Any]], shapes: Mapping[int, Shape]
) -> Table | None:
    if not rows:
        return None
    columns = [
        Column(
            row["name"],
            row["type"],
            row["type_oid"],
            shapes[row["type_oid"]],
            row["cast_type"],
            row["told_type"],
            row["is_key"],
            row["is_enum"],
        )
        for row in rows
    ]
    first = rows[0]
    return Table(
        oid,
        first["schema"],
        first["table"],
        first["secured"],
        {column.name: column for column in columns},
    )
