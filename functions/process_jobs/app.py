"""Route process-jobs."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.resources import resources_of
from functions._shared.web.bodies import read_body
from functions._shared.web.function_app import function_app
from functions.process_jobs import queue
from functions.process_jobs.request import ProcessJobsRequest
from functions.process_jobs.worker import Worker


async def handle(request: Request) -> JSONResponse:
    """Claim a batch and answer when it is done, or with ``wait`` false wake the worker and answer at once."""
    resources = resources_of(request)
    await resources.auth.service(request, "process-jobs")
    body = await read_body(request, ProcessJobsRequest)
    if request.headers.get("user-agent", "").startswith("pg_net/"):
        await queue.record_tick(resources.pool)
    worker: Worker = request.state.worker
    processed, errors = 0, 0
    if body.wait:
        processed, errors = await worker.run_once(resources.settings.max_parallel_jobs)
    else:
        resources.worker_inbox.wake()
    return JSONResponse(
        {
            "success": True,
            "processed": processed,
            "errors": errors,
            "message": f"Processed {processed} job(s) with {errors} error(s)",
        }
    )


app = function_app(
    [Route("/process-jobs", handle, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])],
)
