"""The edge: every function under /functions/v1/<name>, the shared resources, the worker and the poller.

    uvicorn functions.gateway:app        or        python -m functions

A new function is a folder with an ``app`` whose routes begin with its name, and one line in FUNCTIONS.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from functions._platform.storage import app as storage
from functions._shared.errors import NotFound, error_response
from functions._shared.logs import configure_logging
from functions._shared.resources import open_resources
from functions._shared.settings import Settings
from functions._shared.web.function_app import function_app
from functions.gateway.drain import called_at_stop
from functions.gateway.envelope import Envelope
from functions.gateway.listener import Listener
from functions.gateway.loopback_only import LoopbackOnly, is_functions_host
from functions.gateway.openapi import document
from functions.gateway.paths import PlainPaths, raw_path_of
from functions.gateway.proxies import TrustedProxies
from functions.gateway.quotas import keep_quotas
from functions.gateway.upstream import SERVICES, Upstream, open_upstream
from functions.generate_image_legacy.app import app as generate_image
from functions.process_generation.app import app as process_generation
from functions.process_generation.poller import Poller
from functions.process_jobs.app import app as process_jobs
from functions.process_jobs.diagnostic import app as process_jobs_test
from functions.process_jobs.worker import Worker
from functions.start_generation.app import app as start_generation
from functions.start_generation.starts import Starts
from functions.start_generation.streams import Streams

PREFIX = "/functions/v1"
FUNCTIONS: Mapping[str, ASGIApp] = {
    "start-generation": start_generation,
    "process-jobs": process_jobs,
    "process-jobs-test": process_jobs_test,
    "process-generation": process_generation,
    "generate-image": generate_image,
}
PLATFORM: Mapping[str, ASGIApp] = {"storage": storage.app}
"""Supabase's services that SERVE may name."""


FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""What Supabase's CLI allows."""


async def call_function(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand a request to its function, which sees the path from its own name on, with no trailing slash.

    Not a Mount for each: a Mount answers a POST that lacks the trailing slash with a redirect, which clients follow
    with a GET.
    """
    path = scope["path"].rstrip("/")
    name = path.removeprefix(scope["root_path"]).split("/")[1:2]
    function = FUNCTIONS.get(name[0]) if name else None
    upstream: Upstream | None = scope["state"]["upstream"]
    if (
        function is None
        and upstream
        # No other has a function: //process-jobs and process-jobs;x might yet be one of ours there.
        and FUNCTION_NAME.fullmatch("".join(name))
        and scope["state"]["resources"].settings.forward_unknown_functions
    ):
        await upstream(scope, receive, send)
        return
    if function is None:
        await error_response(NotFound("Requested function was not found"))(scope, receive, send)
        return
    await function({**scope, "path": path}, receive, send)


async def call_upstream(scope: Scope, receive: Receive, send: Send) -> None:
    """One of Supabase's services: ours where SERVE names it, else the one behind, else nobody's."""
    service = scope["root_path"].split("/")[1]
    upstream: Upstream | None = scope["state"]["upstream"]
    if service in scope["state"]["resources"].settings.serve:
        await PLATFORM[service](scope, receive, send)
    elif upstream:
        await upstream(scope, receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    else:
        choice = f"name {service} in SERVE, or " if service in PLATFORM else ""
        refusal = NotFound(
            f"/{service}/v1 is not served here: {choice}set SUPABASE_UPSTREAM_URL to a Supabase that serves it"
        )
        await error_response(refusal)(scope, receive, send)


async def health(request: Request) -> JSONResponse:
    """The process serves. Asks nothing of the database, so that a slow one does not get us restarted."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """Whether to send requests here: 503 while the process stops, or its database does not answer. Asks nobody.

    ``cron_silent_s``: how long cron has not called, once that is too long. Workers go on by themselves all the same.
    """
    worker: Worker = request.state.worker
    listener: Listener = request.state.listener
    silence = worker.clock_silent_for
    status = "stopping" if worker.draining else worker.trouble or "ready"
    return JSONResponse(
        {
            "status": status,
            "notifications": listener.up,
            "cron_silent_s": round(silence.total_seconds()) if silence else None,
        },
        status_code=200 if status == "ready" else 503,
    )


async def openapi(request: Request) -> JSONResponse:
    """What this gateway's functions take and answer, for tools and readers; no token is asked for."""
    settings: Settings = request.state.resources.settings
    return JSONResponse(document(f"{settings.public_base}{PREFIX}"))


class FunctionsHost:
    """Functions at the root of a host name of their own (FUNCTIONS_HOST)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            name = scope["state"]["resources"].settings.functions_host
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if is_functions_host(host, name):
                scope = {
                    **scope,
                    "path": f"{PREFIX}{scope['path']}",
                    "raw_path": PREFIX.encode() + raw_path_of(scope),
                }
        await self.app(scope, receive, send)


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The whole edge; ``settings`` are read from the environment at start unless given."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        chosen = settings or Settings.from_env()
        configure_logging(chosen)
        async with open_resources(chosen) as resources, open_upstream(chosen) as upstream:
            worker = Worker(resources, hinted=lambda: listener.up)
            streams = Streams(resources.pool, hinted=lambda: listener.up)
            listener = Listener(
                chosen,
                {
                    "picture_edge_jobs": lambda _: resources.worker_inbox.wake(),
                    "picture_edge_cancelled": worker.cancelled,
                    "picture_edge_generations": lambda _: streams.hint(),
                },
            )

            def drain() -> None:
                worker.drain()
                streams.close_all()

            worker.start()
            loops = [
                asyncio.create_task(loop.run()) for loop in (Poller(resources), streams, listener)
            ]
            loops.append(asyncio.create_task(keep_quotas(chosen, resources.pool)))
            try:
                with called_at_stop(drain):
                    yield {
                        "resources": resources,
                        "worker": worker,
                        "listener": listener,
                        "streams": streams,
                        "starts": Starts(resources.pool),
                        "upstream": upstream,
                    }
            finally:
                drain()
                await worker.stop()
                for loop in loops:
                    loop.cancel()
                await asyncio.gather(*loops, return_exceptions=True)

    starlette = function_app(
        [
            Route("/health", health),
            Route("/ready", ready),
            Route(f"{PREFIX}/openapi.json", openapi),
            Mount(PREFIX, app=call_function),
            *(Mount(f"/{service}/v1", app=call_upstream) for service in SERVICES),
        ],
        lifespan=lifespan,
    )
    return Envelope(TrustedProxies(LoopbackOnly(FunctionsHost(PlainPaths(starlette)))))


app = create_app()
