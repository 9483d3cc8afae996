"""Where /metrics is asked for: at the gateway's own address with an operator's key, or on METRICS_PORT without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from functions._shared.auth.access import is_bearer
from functions._shared.errors import NotFound, Unauthorized
from functions._shared.operate_settings import operator_of
from functions._shared.resources import resources_of
from functions._shared.settings import Settings, SettingsError
from functions.gateway.metrics.exposition import Exposition


async def metrics(request: Request) -> Response:
    """The metrics, for ``Authorization: Bearer`` with a key of OPERATOR_KEYS, a read-only one too."""
    resources = resources_of(request)
    if not resources.settings.operator_keys:
        raise NotFound("/metrics is not served here: set OPERATOR_KEYS, or METRICS_PORT")
    if not is_bearer(request):
        raise Unauthorized("No operator's key: Authorization: Bearer …")
    presented = request.headers["authorization"].partition(" ")[2].strip()
    if operator_of(resources.settings, presented) is None:
        resources.auth.note_failure(request)
        raise Unauthorized("Not an operator's key")
    exposition: Exposition = request.state.metrics
    return Response(await exposition.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def open_port(settings: Settings, exposition: Exposition) -> AsyncIterator[None]:
    """Serve /metrics on METRICS_PORT, where that is set. Raises SettingsError where the port is taken.

    Of several processes (EDGE_WORKERS) each listens there: the kernel gives a scrape to one, which answers for all.
    """
    if settings.metrics_port is None:
        yield
        return
    from aiohttp import web  # here: 20 ms of every start else

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            body=await exposition.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    host, port = settings.metrics_host, settings.metrics_port
    try:
        try:
            await web.TCPSite(runner, host, port, reuse_port=settings.edge_workers > 1).start()
        except OSError as error:
            raise SettingsError(
                f"METRICS_PORT {port} of {host} cannot be served: {error.strerror}"
            ) from None
        yield
    finally:
        await runner.cleanup()
