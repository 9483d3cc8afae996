"""What every request and job needs: opened once at start, closed once at the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from functions._shared.auth import Authenticator
from functions._shared.settings import Settings

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

POOL_WAIT_S = 3
"""After this long without a connection the database counts as down."""


@dataclass
class Resources:
    """Shared by all functions of the process; ``wake`` tells the worker that there is a job."""

    settings: Settings
    pool: Pool
    legacy_pool: Pool
    """generate-image's own: a queue that is stuck may take all of ``pool``, and must not take these."""
    http: httpx.AsyncClient
    supabase: AsyncClient
    auth: Authenticator
    wake: Callable[[], None]


def resources_of(request: Request) -> Resources:
    """The gateway puts them into the lifespan state, which every mounted app sees."""
    resources: Resources = request.state.resources
    return resources


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything. A database that is down does not stop the start: requests answer 503 until it is back."""
    pool = _make_pool(settings, min_size=1)
    legacy_pool = _make_pool(settings, min_size=0)
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(30, connect=5), follow_redirects=False
    ) as http:
        supabase = await acreate_client(
            str(settings.supabase_url).rstrip("/"),
            settings.supabase_service_role_key.get_secret_value(),
            AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http),
        )
        await pool.open(wait=False)
        await legacy_pool.open(wait=False)
        try:
            yield Resources(
                settings=settings,
                pool=pool,
                legacy_pool=legacy_pool,
                http=http,
                supabase=supabase,
                auth=Authenticator(settings),
                wake=lambda: None,
            )
        finally:
            await pool.close()
            await legacy_pool.close()


def _make_pool(settings: Settings, min_size: int) -> Pool:
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
