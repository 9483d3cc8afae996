"""What the tests of the schema cache share: a schema named api, and its catalogue."""

import asyncio
from typing import Any

import psycopg
from psycopg import AsyncConnection

from functions._platform.rest.catalogue.load import load
from functions._platform.rest.catalogue.model import Catalogue, ForeignKey, Name, Relationship
from functions._shared.rest_settings import RestSettings


def catalogue_of(
    dsn: str,
    sql: str,
    schemas: tuple[str, ...] = ("api",),
    search_path: tuple[str, ...] = (),
    **login: Any,
) -> Catalogue:
    """Run ``sql`` in the schema api, and read the catalogue as ``login``."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema if not exists api")
        connection.execute("set search_path = api")
        connection.execute(sql.encode())
    settings = RestSettings(pgrst_db_schemas=schemas, pgrst_db_extra_search_path=search_path)

    async def read() -> Catalogue:
        async with await AsyncConnection.connect(dsn, autocommit=True, **login) as connection:
            return await load(connection, settings)

    return asyncio.run(read())


def of(catalogue: Catalogue, table: str) -> tuple[Relationship, ...]:
    return catalogue.relationships.get(Name("api", table), ())


def shown(relationship: Relationship) -> str:
    """``M2O clients by fk (client_id=id)``"""
    if not isinstance(relationship, ForeignKey):
        kind = "to one" if relationship.to_one else "to many"
        return f"{kind} {relationship.foreign_table.name} by {relationship.function.name}"
    pairs = ", ".join(f"{own}={other}" for own, other in relationship.pairs)
    through = (
        f"through {relationship.junction.table.name}" if relationship.junction else f"({pairs})"
    )
    return f"{relationship.cardinality} {relationship.foreign_table.name} by {relationship.constraint} {through}"
