"""The schema cache's one query, and its answer as a ``Catalogue``."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from pydantic_core import from_json

from functions._platform.rest.catalogue import (
    foreign_keys,
    media_types,
    relationships,
    roles,
    routines,
    tables,
    view_columns,
)
from functions._platform.rest.catalogue.model import Catalogue
from functions._shared.rest_settings import RestSettings

# search_path: names are formatted with their schemas. JIT compilation would take longer than the query itself.
# statement_timeout: authenticator's 8 s is for requests.
SESSION = """
select
    set_config('search_path', '', true), set_config('jit', 'off', true), set_config('statement_timeout', '60s', true)
"""
# pg_basetype() would resolve domains over domains, and is not in PostgreSQL before 17.
SHARED = """
with recursive
exposed as (
    select oid from pg_namespace where nspname = any (%(schemas)s)
),
steps (oid, base) as (
    select oid, typbasetype from pg_type where typtype = 'd'
    union all
    select steps.oid, types.typbasetype
    from steps
    join pg_type as types on types.oid = steps.base and types.typtype = 'd'
),
domains as (
    select steps.oid, steps.base
    from steps
    join pg_type as types on types.oid = steps.base and types.typtype <> 'd'
)
"""
"""CTEs for the parts. ``domains``: a row for each domain, with its base type that is no domain itself."""


async def load(connection: AsyncConnection[Any], settings: RestSettings) -> Catalogue:
    """Read the catalogue in one transaction and one round trip (pipeline mode). Raises psycopg.Error."""
    version = connection.info.server_version
    schemas = settings.pgrst_db_schemas
    arguments = {
        "schemas": list(schemas),
        "search_path": list(settings.pgrst_db_extra_search_path),
    }
    async with (
        connection.pipeline(),
        connection.transaction(),
        connection.cursor(row_factory=tuple_row) as cursor,
    ):
        await connection.execute(SESSION, prepare=False)
        await cursor.execute(query(version).encode(), arguments, prepare=False)
        row = await cursor.fetchone()
    assert row is not None
    # Parsed in a thread: of a thousand tables it takes a tenth of a second, in which requests go on.
    return await asyncio.to_thread(_catalogue, version, row[0], schemas)


def query(server_version: int) -> str:
    """One statement for everything: a JSON object as text, with an array of rows for each part."""
    parts = {
        "tables": tables.QUERY,
        "foreign_keys": foreign_keys.FOREIGN_KEYS,
        "primary_keys": foreign_keys.PRIMARY_KEYS,
        "views": view_columns.QUERY,
        "computed": relationships.COMPUTED,
        "routines": routines.QUERY,
        "casts": media_types.CASTS,
        "handlers": media_types.HANDLERS,
        "roles": roles.query(server_version),
    }
    pairs = ",\n".join(f"'{name}', ({part})" for name, part in parts.items())
    return f"{SHARED} select json_build_object({pairs})::text"


def _catalogue(version: int, text: str, schemas: Sequence[str]) -> Catalogue:
    rows: Mapping[str, list[Any]] = from_json(text)
    views = view_columns.Views(rows["views"], rows["tables"])
    primary_keys = foreign_keys.read_primary_keys(rows["primary_keys"])
    all_tables = tables.read_tables(rows["tables"], views.primary_keys(primary_keys))
    role_settings, role_isolation = roles.read_roles(rows["roles"])
    return Catalogue(
        version=version,
        tables=all_tables,
        relationships=relationships.relationships_of(
            foreign_keys.read_foreign_keys(rows["foreign_keys"]),
            views,
            all_tables,
            primary_keys,
            rows["computed"],
            schemas,
        ),
        routines=routines.read_routines(rows["routines"]),
        casts=media_types.read_casts(rows["casts"]),
        handlers=media_types.read_handlers(rows["handlers"]),
        role_settings=role_settings,
        role_isolation=role_isolation,
    )
