"""Tables, views, materialised views, foreign and partitioned tables of the exposed schemas, with their columns."""

from collections.abc import Mapping
from typing import Any

from functions._platform.rest.catalogue.model import Column, Name, Table

# Not pg_get_serial_sequence(): it finds its table by name, for which the login role would need USAGE of the schema.
QUERY = """
with relations as (
    select oid, relnamespace, relname, relkind
    from pg_class
    where relkind in ('r', 'v', 'm', 'f', 'p') and not relispartition and relnamespace in (select oid from exposed)
),
fields as (
    select
        attribute.attrelid,
        attribute.attnum,
        attribute.attname,
        coalesce(domains.base, own.oid) as base,
        case
            when coalesce(base_type.typnamespace, own.typnamespace) = 'pg_catalog'::regnamespace
            then format_type(coalesce(domains.base, own.oid), null)
            else format_type(attribute.atttypid, attribute.atttypmod)
        end as type,
        format_type(attribute.atttypid, attribute.atttypmod) as declared_type,
        not (attribute.attnotnull or own.typtype = 'd' and own.typnotnull) as nullable,
        case own.typtype when 'd' then own.typbasetype else own.oid end as sized_type,
        case own.typtype when 'd' then own.typtypmod else attribute.atttypmod end as modifier,
        case
            when attribute.attidentity = 'd'
            then (
                select format('nextval(%%L)', owned.objid::regclass)
                from pg_depend as owned
                where
                    owned.classid = 'pg_class'::regclass and owned.refclassid = 'pg_class'::regclass
                    and owned.refobjid = relations.oid and owned.refobjsubid = attribute.attnum
                    and owned.deptype = 'i'
            )
            when attribute.attgenerated <> '' then null
            when fallback.adbin is not null then pg_get_expr(fallback.adbin, fallback.adrelid)
            when own.typtype = 'd' then pg_get_expr(own.typdefaultbin, 0)
        end as fallback,
        attribute.attidentity = 'a' or attribute.attgenerated <> '' as generated,
        coalesce(base_type.typtype, own.typtype) = 'c' as is_composite,
        coalesce(base_type.typcategory, own.typcategory) = 'A' as is_array
    from relations
    join pg_attribute as attribute on attribute.attrelid = relations.oid
    join pg_type as own on own.oid = attribute.atttypid
    left join domains on domains.oid = own.oid
    left join pg_type as base_type on base_type.oid = domains.base
    left join pg_attrdef as fallback
        on fallback.adrelid = attribute.attrelid and fallback.adnum = attribute.attnum
    where attribute.attnum > 0 and not attribute.attisdropped
),
labels as (
    select enumtypid, json_agg(enumlabel order by enumsortorder) as labels from pg_enum group by enumtypid
),
columns as (
    select
        fields.attrelid,
        json_agg(
            json_build_array(
                fields.attname, fields.type, fields.declared_type, fields.nullable, comments.description,
                case
                    when fields.modifier < 0 then null
                    when fields.sized_type in ('bpchar'::regtype, 'varchar'::regtype) then fields.modifier - 4
                    when fields.sized_type in ('bit'::regtype, 'varbit'::regtype) then fields.modifier
                end,
                fields.fallback, fields.generated, coalesce(labels.labels, '[]'), fields.is_composite,
                fields.is_array
            )
            order by fields.attnum
        ) as columns
    from fields
    left join labels on labels.enumtypid = fields.base
    left join pg_description as comments
        on
            comments.classoid = 'pg_class'::regclass and comments.objoid = fields.attrelid
            and comments.objsubid = fields.attnum
    group by fields.attrelid
),
primary_keys as (
    select
        constraints.conrelid,
        json_agg(attribute.attname order by attribute.attname) as names
    from pg_constraint as constraints
    join pg_attribute as attribute
        on attribute.attrelid = constraints.conrelid and attribute.attnum = any (constraints.conkey)
    where constraints.contype = 'p'
    group by constraints.conrelid
)
select coalesce(json_agg(
    json_build_array(
        relations.oid::bigint, spaces.nspname, relations.relname, comments.description,
        relations.relkind in ('v', 'm'),
        case
            when relations.relkind in ('r', 'p') then 28
            when relations.relkind in ('v', 'f') then pg_relation_is_updatable(relations.oid, true)
            else 0
        end,
        coalesce(primary_keys.names, '[]'), coalesce(columns.columns, '[]')
    )
    order by spaces.nspname, relations.relname
), '[]')
from relations
join pg_namespace as spaces on spaces.oid = relations.relnamespace
left join columns on columns.attrelid = relations.oid
left join primary_keys on primary_keys.conrelid = relations.oid and relations.relkind in ('r', 'p')
left join pg_description as comments
    on comments.classoid = 'pg_class'::regclass and comments.objoid = relations.oid and comments.objsubid = 0
"""

UPDATE, INSERT, DELETE = 4, 8, 16
"""Bits of pg_relation_is_updatable: 1 << CmdType."""
LABELS = 8
"""The place of an enum's labels in a column's row."""


def read_tables(
    rows: list[list[Any]], view_keys: Mapping[int, tuple[str, ...]]
) -> dict[Name, Table]:
    """``view_keys``: a view's oid → its columns that show a primary key."""
    tables: dict[Name, Table] = {}
    for oid, schema, name, description, is_view, events, primary_key, columns in rows:
        tables[Name(schema, name)] = Table(
            name=Name(schema, name),
            columns={row[0]: _column(row) for row in columns},
            primary_key=view_keys.get(oid, ()) if is_view else tuple(primary_key),
            description=description,
            is_view=is_view,
            insertable=bool(events & INSERT),
            updatable=bool(events & UPDATE),
            deletable=bool(events & DELETE),
        )
    return tables


def _column(row: list[Any]) -> Column:
    row[LABELS] = tuple(row[LABELS])
    return Column(*row)
