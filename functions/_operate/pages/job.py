"""One job: explain_job in words, its attempts, its input; cancel it, or run it again.

GET  /operate/jobs/<id>
POST /operate/jobs/<id>/cancel, /operate/jobs/<id>/redrive
"""

from starlette.responses import Response

from functions._operate.database import Reader
from functions._operate.identify import emails, uuid_of
from functions._operate.render import bare
from functions._operate.visit import Visit
from functions._shared.errors import NotFound

MAX_INPUT = 6000
"""Characters of a job's input that are shown."""
JOB = """
select id, job_type, status, priority, attempt_number, max_attempts, created_at, scheduled_at, started_at,
    completed_at, created_by, worker_id, lease_expires_at, parked, crash_count, error_message, errors,
    jsonb_pretty(payload) as payload, payload ->> 'generation_id' as generation_id, result::text as result
from public.job_queue where id = %(id)s
"""
EXPLAINED = "select aspect, detail from public.explain_job(%(id)s)"
FIRST = ("state", "waits", "expected", "picture")
"""Aspects that answer the question that brings a reader here; the others follow in their own order."""
ELSEWHERE = frozenset({"generation", "model", "user", "job", "requested"})
"""Aspects that the page shows with links."""


async def job(visit: Visit) -> Response:
    id_ = uuid_of(visit.request.path_params["id"])
    async with visit.reading() as reader:
        row = await reader.row(JOB, {"id": id_}) if id_ else None
        if row is None:
            raise NotFound("No job has this id: it was purged, or is mistyped")
        explained = await explain(reader, id_)
        addresses = await emails(reader, [row["created_by"]])
    return visit.show(
        "job.html",
        {
            "job": row,
            "explained": explained,
            "email": addresses.get(row["created_by"]),
            # Before the cut: what follows it tells that a text is an address's user.
            "input": bare(row["payload"][: 2 * MAX_INPUT])[:MAX_INPUT],
            "is_cut": len(row["payload"]) > MAX_INPUT,
            "generation_id": uuid_of(row["generation_id"] or ""),
        },
    )


async def explain(reader: Reader, id_: object) -> list[tuple[str, list[str]]]:
    """explain_job's rows, those of one aspect together: the answer first."""
    told: dict[str, list[str]] = {aspect: [] for aspect in FIRST}
    for row in await reader.rows(EXPLAINED, {"id": id_}):
        told.setdefault(row["aspect"], []).append(row["detail"])
    return [(name, said) for name, said in told.items() if said and name not in ELSEWHERE]


async def cancel(visit: Visit) -> Response:
    id_ = visit.request.path_params["id"]
    values = {"id": uuid_of(id_), "reason": "Cancelled by an operator"}
    done = await visit.act("select public.cancel_job(%(id)s, %(reason)s)", values)
    said = "The job is cancelled" if done.value else "The job had ended before"
    return visit.done(f"/jobs/{id_}", said, *done.said)


async def redrive(visit: Visit) -> Response:
    id_ = visit.request.path_params["id"]
    done = await visit.act("select public.redrive_job(%(id)s)", {"id": uuid_of(id_)})
    said = "The job runs again" if done.value else "The job waits or runs already"
    return visit.done(f"/jobs/{id_}", said, *done.said)
