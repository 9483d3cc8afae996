"""What the request's role may see of the exposed schema: asked in its transaction, as only the database knows."""

from dataclasses import dataclass

from pydantic_core import from_json

from functions._platform.rest.sql.fragment import TEXT, Fragment, bound


@dataclass(frozen=True)
class Visible:
    """Names of tables and oids of functions that the role has any right to; ``description``: the schema's comment."""

    tables: frozenset[str]
    routines: frozenset[int]
    description: str | None


def visible_query(schema: str) -> Fragment:
    """A statement of one row and column, for ``read_visible``."""
    return [
        "with exposed as (select oid from pg_catalog.pg_namespace where nspname = ",
        bound(schema, TEXT),
        """)
select pg_catalog.json_build_object(
    'tables', (
        select coalesce(pg_catalog.json_agg(relations.relname), '[]')
        from pg_catalog.pg_class as relations
        where
            relations.relnamespace in (select oid from exposed)
            and relations.relkind in ('r', 'v', 'm', 'f', 'p')
            and (
                pg_catalog.pg_has_role(relations.relowner, 'usage')
                or pg_catalog.has_table_privilege(
                    relations.oid, 'select, insert, update, delete, truncate, references, trigger'
                )
                or pg_catalog.has_any_column_privilege(relations.oid, 'select, insert, update, references')
            )
    ),
    'routines', (
        select coalesce(pg_catalog.json_agg(routines.oid::bigint), '[]')
        from pg_catalog.pg_proc as routines
        where
            routines.pronamespace in (select oid from exposed)
            and pg_catalog.has_function_privilege(routines.oid, 'execute')
    ),
    'description', (select pg_catalog.obj_description(oid, 'pg_namespace') from exposed)
)::text""",
    ]


def read_visible(text: str | bytes) -> Visible:
    row = from_json(text)
    return Visible(frozenset(row["tables"]), frozenset(row["routines"]), row["description"])
