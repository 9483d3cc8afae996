"""The resources that every request and job needs: made in one step at start, closed once at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.requests import Request

from functions._shared.alarm import Alarm
from functions._shared.auth.authenticator import Authenticator
from functions._shared.auth.signing_keys import SigningKeys
from functions._shared.database.pool import Pool, make_pool
from functions._shared.http_client import make_client
from functions._shared.image_models.store import ModelStore
from functions._shared.jobs import WorkerInbox
from functions._shared.metrics.ended import Ended
from functions._shared.pictures.fetch import Fetcher
from functions._shared.pictures.storage import Storage, open_storage
from functions._shared.provider.replicate import Replicate
from functions._shared.settings import Settings
from functions._shared.supervisor import Supervisor

TIMEOUT = httpx.Timeout(30, connect=5)


@dataclass(frozen=True)
class Resources:
    """Shared by all functions of the process; immutable.

    Worker and poller are made from it, so it holds what they are called by: passive objects that exist before them.
    """

    settings: Settings
    pool: Pool
    legacy_pool: Pool
    """generate-image's own (bulkhead): a stuck queue may exhaust ``pool``, and must not exhaust this one."""
    http: httpx.AsyncClient
    storage: Storage
    fetcher: Fetcher
    auth: Authenticator
    replicate: Replicate
    models: ModelStore
    worker_inbox: WorkerInbox
    """Wakes the worker of this process, and hands claimed jobs to it."""
    poll_alarm: Alarm
    """Tells the poller of this process that a parked prediction falls due."""
    ended: Ended
    """Told what has ended in this process, for /metrics."""
    supervisor: Supervisor
    """Starts the background loops of this process, and knows which of them have failed."""


def resources_of(request: Request) -> Resources:
    """From the lifespan state, which every mounted app sees."""
    resources: Resources = request.state.resources
    return resources


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open all of them. A database that is down does not stop the start: requests answer 503 until it is back."""
    pool = make_pool(settings, min_size=1)
    legacy_pool = make_pool(settings, min_size=0)
    # An HTTP client per peer (bulkhead): a slow peer exhausts its own connections only.
    tls = httpx.create_ssl_context()  # shared: reading all root certificates takes 20 ms
    async with (
        make_client(tls, TIMEOUT) as http,
        make_client(tls, TIMEOUT) as to_storage,
        make_client(tls, TIMEOUT) as to_replicate,
    ):
        storage = open_storage(settings, to_storage)
        replicate = Replicate(
            to_replicate, str(settings.replicate_api_url), settings.replicate_api_token
        )
        signing_keys = SigningKeys(http, settings.jwks_url, settings.known_jwks)
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
                worker_inbox=WorkerInbox(),
                poll_alarm=Alarm(),
                ended=Ended(),
                supervisor=Supervisor(),
            )
        finally:
            await signing_keys.close()
            await pool.close()
            await legacy_pool.close()
