"""What every request and job needs: opened once at start, closed once at the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.requests import Request

from functions._shared.auth.authenticator import Authenticator
from functions._shared.auth.signing_keys import SigningKeys
from functions._shared.database.pool import Pool, make_pool
from functions._shared.image_models.store import ModelStore
from functions._shared.jobs import LocalWorker, NoWorker
from functions._shared.pictures.fetch import Fetcher
from functions._shared.pictures.storage import Storage, open_storage
from functions._shared.provider.replicate import Replicate
from functions._shared.settings import Settings


@dataclass
class Resources:
    """Shared by all functions of the process.

    ``expect`` tells the poller that a prediction was parked, to be looked at in so many seconds.
    """

    settings: Settings
    pool: Pool
    legacy_pool: Pool
    """generate-image's own: a queue that is stuck may take all of ``pool``, and must not take these."""
    http: httpx.AsyncClient
    storage: Storage
    fetcher: Fetcher
    auth: Authenticator
    replicate: Replicate
    models: ModelStore
    worker: LocalWorker
    expect: Callable[[float], None]


def resources_of(request: Request) -> Resources:
    """The gateway puts them into the lifespan state, which every mounted app sees."""
    resources: Resources = request.state.resources
    return resources


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything. A database that is down does not stop the start: requests answer 503 until it is back."""
    pool = make_pool(settings, min_size=1)
    legacy_pool = make_pool(settings, min_size=0)
    # One for each peer: none waits for the connections that another holds, or looks through them at each request.
    async with _client() as http, _client() as to_storage, _client() as to_replicate:
        storage = await open_storage(settings, to_storage)
        replicate = Replicate(
            to_replicate, str(settings.replicate_api_url), settings.replicate_api_token
        )
        signing_keys = SigningKeys(http, settings.jwks_url, settings.supabase_jwks)
        await pool.open(wait=False)
        await legacy_pool.open(wait=False)
        try:
            yield Resources(
                settings=settings,
                pool=pool,
                legacy_pool=legacy_pool,
                http=http,
                storage=storage,
                fetcher=Fetcher.from_settings(settings, http, storage),
                auth=Authenticator(settings, signing_keys),
                replicate=replicate,
                models=ModelStore(replicate),
                worker=NoWorker(),
                expect=lambda _: None,
            )
        finally:
            await signing_keys.close()
            await pool.close()
            await legacy_pool.close()


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=httpx.Timeout(30, connect=5),
        # Each idle connection is asked for its health at every request.
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=8),
        follow_redirects=False,
    )
