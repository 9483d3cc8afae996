"""The gateway's ASGI app: the tables of functions and services, the process's loops (lifespan), its front door.

A new function is a folder (``app.py`` with routes that begin with its name, ``openapi.py`` with its ENTRY) and one line
in FUNCTIONS. A new service of Supabase's is a folder below functions/_platform and one line in PLATFORM.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from functions._operate.app import open_operate
from functions._operate.app import routes as operate
from functions._platform.auth.app import app as auth
from functions._platform.auth.app import open_auth
from functions._platform.auth.mailbox.routes import routes as mailbox
from functions._platform.example.routes import routes as example
from functions._platform.realtime.app import app as realtime
from functions._platform.realtime.app import open_realtime
from functions._platform.rest.app import app as rest
from functions._platform.rest.app import open_rest
from functions._platform.storage.app import app as storage
from functions._platform.storage.app import open_storage
from functions._shared.database.listener import Listener
from functions._shared.logs import configure_logging
from functions._shared.resources import Resources, open_resources
from functions._shared.settings import Settings
from functions._shared.supervisor import end
from functions._shared.tracing import open_tracing
from functions.gateway.drain import called_at_stop
from functions.gateway.front_door import FrontDoor
from functions.gateway.health import health, ready
from functions.gateway.metrics.endpoint import metrics, open_port
from functions.gateway.metrics.exposition import Exposition
from functions.gateway.openapi import document
from functions.gateway.routing import PREFIX, Function, Service
from functions.gateway.stored_settings import store_settings
from functions.gateway.upstream import open_upstream
from functions.generate_image_legacy.app import app as generate_image
from functions.generate_image_legacy.openapi import ENTRY as GENERATE_IMAGE
from functions.process_generation.app import app as process_generation
from functions.process_generation.openapi import ENTRY as PROCESS_GENERATION
from functions.process_generation.poller import Poller
from functions.process_jobs.app import app as process_jobs
from functions.process_jobs.diagnostic import app as process_jobs_test
from functions.process_jobs.openapi import ENTRY as PROCESS_JOBS
from functions.process_jobs.worker import Worker
from functions.start_generation.app import app as start_generation
from functions.start_generation.openapi import ENTRY as START_GENERATION
from functions.start_generation.own_generation import OwnGenerations
from functions.start_generation.starts import Starts
from functions.start_generation.streams import Streams

FUNCTIONS: Mapping[str, Function] = {
    "start-generation": Function(start_generation, START_GENERATION),
    "process-jobs": Function(process_jobs, PROCESS_JOBS),
    "process-jobs-test": Function(process_jobs_test, PROCESS_JOBS),
    "process-generation": Function(process_generation, PROCESS_GENERATION),
    "generate-image": Function(generate_image, GENERATE_IMAGE),
}
"""The first path segment below /functions/v1 → the function."""
PLATFORM: Mapping[str, Service] = {
    "auth": Service(auth, open_auth),
    "rest": Service(rest, open_rest, own_options=""),
    "realtime": Service(realtime, open_realtime),
    "storage": Service(storage, open_storage, own_options="/upload/resumable"),
}
"""The first path segment, before /v1 → our own app for a service of Supabase, which SERVE may name."""


async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document of all functions, for anybody."""
    settings: Settings = request.state.resources.settings
    entries = [function.entry for function in FUNCTIONS.values()]
    return JSONResponse(document(f"{settings.public_base}{PREFIX}", entries))


ROUTES: Sequence[BaseRoute] = (
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", metrics),
    Route(f"{PREFIX}/openapi.json", openapi),
    *mailbox,
    *example,
    *operate,
)
"""The gateway's own."""
JOBS = "picture_edge_jobs"
"""The channel on which SQL tells of new jobs (``wake_workers``)."""


class Gateway:
    """The ASGI app: a process opens and closes what ``lifespan`` does; all else passes the front door made there."""

    def __init__(self, lifespan: Lifespan[Any]) -> None:
        self._process = Router(lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._process.lifespan(scope, receive, send)
        else:
            await scope["state"]["door"](scope, receive, send)


@asynccontextmanager
async def open_services(resources: Resources) -> AsyncIterator[Mapping[str, Any]]:
    """Service → what it has opened, for the services that SERVE names."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(service.opened(resources))
            for name, service in PLATFORM.items()
            if name in resources.settings.serve and service.opened
        }


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The gateway; ``settings`` are read from the environment at start unless given."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[Mapping[str, Any]]:
        chosen = settings or Settings.from_env()
        configure_logging(chosen)
        async with (
            open_tracing(chosen),
            open_resources(chosen) as resources,
            open_upstream(chosen) as upstream,
            open_services(resources) as services,
            open_port(chosen, exposition := Exposition(resources)),
        ):
            worker = Worker(resources, hinted=lambda: listener.up)
            streams = Streams(resources.pool, hinted=lambda: listener.up)
            starts = Starts(resources.pool, resources.worker_inbox.wake)
            listener = Listener(
                chosen.supabase_db_direct_url or chosen.supabase_db_url,
                {
                    JOBS: lambda _: resources.worker_inbox.wake(),
                    "picture_edge_cancelled": worker.cancelled,
                    "picture_edge_generations": lambda _: streams.hint(),
                },
                without="new jobs are looked for several times a second",
                known=lambda sent: sent.channel == JOBS and sent.pid == starts.backend_pid,
            )

            def drain() -> None:
                worker.drain()
                streams.close_all()

            worker.start()
            supervise = resources.supervisor.start
            loops = [
                supervise("poller", Poller(resources).run),
                supervise("event streams", streams.run),
                supervise("listener", listener.run),
                supervise("metrics", exposition.keep_current),
                supervise("stored settings", lambda: store_settings(chosen, resources.pool)),
            ]
            try:
                with called_at_stop(drain):
                    yield {
                        "resources": resources,
                        "metrics": exposition,
                        "worker": worker,
                        "listener": listener,
                        "streams": streams,
                        "starts": starts,
                        "own_generations": OwnGenerations(resources.pool),
                        "operate": open_operate(resources),
                        "door": FrontDoor(chosen, ROUTES, FUNCTIONS, PLATFORM, upstream),
                        **services,
                    }
            finally:
                drain()
                await worker.stop()
                await end(loops)

    return Gateway(lifespan)


app = create_app()
