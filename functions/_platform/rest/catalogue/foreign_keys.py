"""Foreign keys and primary keys of all schemas: views of the exposed ones may show tables of others."""

from dataclasses import dataclass
from typing import Any

from functions._platform.rest.catalogue.model import Name

FOREIGN_KEYS = """
with
unique_columns as (
    select constraints.conrelid, array_agg(key.attnum order by key.attnum) as attnums
    from pg_constraint as constraints
    cross join unnest(constraints.conkey) as key (attnum)
    where constraints.contype in ('p', 'u')
    group by constraints.oid, constraints.conrelid
),
pairs as (
    select
        constraints.oid,
        array_agg(pair.own order by pair.own) as attnums,
        json_agg(
            json_build_array(pair.own, own.attname, pair.other, other.attname) order by pair.position
        ) as pairs
    from pg_constraint as constraints
    cross join unnest(constraints.conkey, constraints.confkey) with ordinality as pair (own, other, position)
    join pg_attribute as own on own.attrelid = constraints.conrelid and own.attnum = pair.own
    join pg_attribute as other on other.attrelid = constraints.confrelid and other.attnum = pair.other
    where constraints.contype = 'f' and constraints.conparentid = 0
    group by constraints.oid
)
select coalesce(json_agg(
    json_build_array(
        constraints.conname,
        own.oid::bigint, own_schema.nspname, own.relname,
        other.oid::bigint, other_schema.nspname, other.relname,
        pairs.pairs,
        exists (
            select from unique_columns
            where unique_columns.conrelid = own.oid and unique_columns.attnums = pairs.attnums
        )
    )
), '[]')
from pg_constraint as constraints
join pairs on pairs.oid = constraints.oid
join pg_class as own on own.oid = constraints.conrelid
join pg_namespace as own_schema on own_schema.oid = own.relnamespace
join pg_class as other on other.oid = constraints.confrelid
join pg_namespace as other_schema on other_schema.oid = other.relnamespace
"""
"""conparentid: the copies of a partitioned table's constraint at its partitions are none of their own."""
PRIMARY_KEYS = """
select coalesce(json_agg(
    json_build_array(constraints.conrelid::bigint, relations.relname, spaces.nspname, constraints.conkey)
), '[]')
from pg_constraint as constraints
join pg_class as relations on relations.oid = constraints.conrelid
join pg_namespace as spaces on spaces.oid = relations.relnamespace
where constraints.contype = 'p'
"""


@dataclass(frozen=True)
class Side:
    """One end of a foreign key: a table, and its columns in the order of the constraint."""

    oid: int
    name: Name
    attnums: tuple[int, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Constraint:
    """A foreign key. ``one_to_one``: its columns are a primary key or have a unique constraint."""

    name: str
    own: Side
    other: Side
    one_to_one: bool


@dataclass(frozen=True)
class PrimaryKey:
    oid: int
    table: Name
    attnums: tuple[int, ...]


def read_foreign_keys(rows: list[list[Any]]) -> list[Constraint]:
    constraints: list[Constraint] = []
    for name, oid, schema, table, other_oid, other_schema, other_table, pairs, one_to_one in rows:
        own_attnums, own_columns, attnums, columns = zip(*pairs, strict=True)
        constraints.append(
            Constraint(
                name,
                Side(oid, Name(schema, table), own_attnums, own_columns),
                Side(other_oid, Name(other_schema, other_table), attnums, columns),
                one_to_one,
            )
        )
    return constraints


def read_primary_keys(rows: list[list[Any]]) -> list[PrimaryKey]:
    return [
        PrimaryKey(oid, Name(schema, table), tuple(attnums)) for oid, table, schema, attnums in rows
    ]
