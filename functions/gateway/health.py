"""Liveness and readiness: GET /health and GET /ready. Neither waits for the database, and neither asks for a token."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._platform.realtime.shared import Realtime
from functions._shared.database.listener import Listener
from functions._shared.resources import resources_of
from functions.gateway.routing import served_by
from functions.process_jobs.worker import Worker


async def health(request: Request) -> JSONResponse:
    """Liveness: the process serves. Independent of the database, so that a slow one causes no restart."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """Readiness, for load balancers: 503 while the process drains, while the worker has trouble with the database, or
    after a background loop has failed.

    ``notifications``: whether LISTEN works. ``cron_silent_s``: seconds since cron called process-jobs, once that is too
    long. ``services``: where each service of Supabase's is served from. ``realtime``: where its
    changes come from. These are for people, and do not make the
    process unready: workers poll by themselves.
    """
    worker: Worker = request.state.worker
    listener: Listener = request.state.listener
    realtime: Realtime | None = getattr(request.state, "realtime", None)
    silence = worker.clock_silent_for
    resources = resources_of(request)
    trouble = worker.trouble or resources.supervisor.trouble
    status = "stopping" if worker.draining else trouble or "ready"
    return JSONResponse(
        {
            "status": status,
            "notifications": listener.up,
            "cron_silent_s": round(silence.total_seconds()) if silence else None,
            "services": served_by(resources.settings),
            "realtime": realtime.feed.source if realtime else None,
        },
        status_code=200 if status == "ready" else 503,
    )
