"""What a session must be like: the styles that psycopg reads, the encoding, and for some uses no pooler in between."""

from typing import Any

from psycopg import AsyncConnection, BaseConnection

ENCODING = "UTF8"
STYLES = {"DateStyle": "ISO", "IntervalStyle": "postgres"}
"""Setting → how the value has to begin. ALTER DATABASE and ALTER ROLE may set others, which psycopg refuses."""


async def settle(connection: AsyncConnection[Any]) -> None:
    """Set the styles where they differ. The server reports them at connect, so the usual case costs no round trip.

    PgBouncer follows DateStyle for each of its clients, and IntervalStyle since 1.20.
    """
    for name, wanted in STYLES.items():
        found = connection.info.parameter_status(name)
        if found is not None and not found.startswith(wanted):
            await connection.execute("select set_config(%s, %s, false)", (name, wanted))


def is_read_only(connection: BaseConnection[Any]) -> bool:
    """Whether the server takes no writes, by what it reports to its clients (PostgreSQL 14): without a round trip."""
    reported = ("in_hot_standby", "default_transaction_read_only")
    return any(connection.info.parameter_status(name) == "on" for name in reported)


async def is_pooled(connection: AsyncConnection[Any]) -> bool:
    """Whether a transaction pooler (PgBouncer, Supavisor) is in between: it sends its clients invented process ids.

    LISTEN and session-level advisory locks do not work behind one, as sessions change hands.
    """
    cursor = await connection.execute("select pg_backend_pid() as pid")
    row = await cursor.fetchone()
    return tuple(row.values() if isinstance(row, dict) else row or ()) != (
        connection.info.backend_pid,
    )


def unfit_encoding(connection: BaseConnection[Any]) -> str | None:
    """What is wrong with the database's encoding, in words; None for UTF8.

    SQL_ASCII yields bytes for text, and others cannot store most of the characters that prompts have.
    """
    found = connection.info.parameter_status("server_encoding")
    if found in (None, ENCODING):  # None: a pooler that does not report it
        return None
    return f"the database's encoding is {found}, and must be UTF8: create database … encoding 'UTF8' template template0"
