"""The connection pool, and what our SQL refuses, as exceptions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from functions._shared.errors import LeaseLost, NotFound
from functions._shared.settings import Settings

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

POOL_WAIT_S = 3
"""After this long without a connection the database counts as down."""
DATABASE_DOWN = (psycopg.OperationalError, PoolTimeout)


def make_pool(settings: Settings, min_size: int) -> Pool:
    """A pool of DB_POOL_SIZE connections at most, not yet open."""
    return AsyncConnectionPool(
        settings.supabase_db_url.get_secret_value(),
        connection_class=AsyncConnection[DictRow],
        min_size=min_size,
        max_size=settings.db_pool_size,
        timeout=POOL_WAIT_S,
        # Giving up early means that the next request tries afresh: back within seconds, not after a long backoff.
        reconnect_timeout=POOL_WAIT_S,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "prepare_threshold": None,  # a transaction pooler does not keep prepared statements
            "connect_timeout": POOL_WAIT_S,
            "application_name": "picture-edge",
        },
        open=False,
    )


@asynccontextmanager
async def fenced() -> AsyncIterator[None]:
    """Turn what our SQL refuses into LeaseLost (a stale fencing token) or NotFound (its row is gone or done)."""
    try:
        yield
    except psycopg.Error as error:
        refusal = {"PT409": LeaseLost, "PT404": NotFound}.get(error.sqlstate or "")
        if refusal:
            raise refusal(str(error.diag.message_primary)) from None
        raise
