"""One generation: its picture, why it waits, the timeline from the request to the stored picture, cost; live.

GET  /operate/generations/<id>
GET  /operate/generations/<id>/events    server-sent events: "changed", at last "ended"
POST /operate/generations/<id>/redrive, /operate/generations/<id>/cancel
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.responses import Response

from functions._operate.identify import emails, uuid_of
from functions._operate.live import changes
from functions._operate.pages.generations import HAS_GENERATION, thumbnail
from functions._operate.pages.job import explain
from functions._operate.render import spoken
from functions._operate.visit import Visit
from functions._shared.errors import NotFound

GENERATION = "select * from public.image_generations where id = %(id)s"
# By the index of the owner's jobs, from the generation's time on, as explain_job finds them.
JOBS = """
select id, job_type, status, attempt_number, created_at, scheduled_at, started_at, completed_at, worker_id, errors,
    error_message, parked
from public.job_queue
where created_by = %(user)s and created_at >= %(at)s and payload ->> 'generation_id' = %(id)s::text
order by created_at, id limit 20
"""
PREDICTIONS = """
select prediction_id, model, status, seconds, polls, created_at, ended_at, error_message
from public.predictions where job_id = any (%(jobs)s) order by created_at limit 50
"""
IMAGES = """
select public_url, width, height, format, file_size, created_at
from public.images where generation_id = %(id)s order by created_at limit 20
"""
SPENT = """
select sum(usd) as usd, sum(refunded_usd) as refunded, count(*) as predictions, count(*) filter (where usd is null)
    as unpriced
from public.spend where prediction_id = any (%(predictions)s)
"""
TERMINAL = frozenset({"completed", "failed", "cancelled"})
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Moment:
    """``kind``: good, bad or "", for its mark."""

    at: datetime
    title: str
    text: str = ""
    kind: str = ""


async def generation(visit: Visit) -> Response:
    id_ = uuid_of(visit.request.path_params["id"])
    async with visit.reading() as reader:
        row = await reader.row(GENERATION, {"id": id_}) if id_ else None
        if row is None:
            raise NotFound("No generation has this id: it was deleted, or is mistyped")
        asked = {"user": row["user_id"], "at": row["created_at"], "id": id_}
        jobs = await reader.rows(JOBS, asked)
        predictions = await reader.rows(PREDICTIONS, {"jobs": [job["id"] for job in jobs]})
        images = await reader.rows(IMAGES, {"id": id_})
        ids = [*(one["prediction_id"] for one in predictions), row["replicate_prediction_id"]]
        spent = await reader.row(SPENT, {"predictions": [one for one in ids if one]})
        explained = await explain(reader, id_)
        addresses = await emails(reader, [row["user_id"]])
    return visit.show(
        "generation.html",
        {
            "generation": row,
            "jobs": jobs,
            "predictions": predictions,
            "images": [
                {**image, "shown": thumbnail(image["public_url"], renders=False)}
                for image in images
            ],
            "spent": spent,
            "explained": explained,
            "email": addresses.get(row["user_id"]),
            "timeline": timeline(row, jobs, predictions, images),
            "is_over": row["status"] in TERMINAL,
            "can_run_again": any(job["status"] in {"failed", "cancelled"} for job in jobs),
            "open_job": next(
                (job for job in jobs if job["status"] in {"pending", "processing"}), None
            ),
        },
    )


def timeline(
    row: Row, jobs: Sequence[Row], predictions: Sequence[Row], images: Sequence[Row]
) -> list[tuple[Moment, str]]:
    """What has happened in order, each with the time since the request."""
    moments = [Moment(row["created_at"], "Requested")]
    for job in jobs:
        moments += _of_job(job)
    for one in predictions:
        moments.append(
            Moment(one["created_at"], "Asked the provider", one["prediction_id"] or "no answer yet")
        )
        if one["ended_at"]:
            kind = "good" if one["status"] == "succeeded" else "bad"
            took = f"after {spoken(one['seconds'])}" if one["seconds"] is not None else ""
            text = ": ".join(filter(None, (took, one["error_message"])))
            moments.append(Moment(one["ended_at"], f"Prediction {one['status']}", text, kind))
    for image in images:
        size = f"{image['width']} × {image['height']}, {image['format']}"
        moments.append(Moment(image["created_at"], "Picture stored", size, "good"))
    if row["completed_at"] and row["status"] in TERMINAL:
        kind = "good" if row["status"] == "completed" else "bad"
        moments.append(
            Moment(
                row["completed_at"], row["status"].capitalize(), row["error_message"] or "", kind
            )
        )
    moments.sort(key=lambda moment: moment.at)
    return [(one, spoken((one.at - row["created_at"]).total_seconds())) for one in moments]


def _of_job(job: Row) -> list[Moment]:
    kind = job["job_type"]
    moments = [Moment(job["created_at"], f"Queued as {kind}")]
    for error in job["errors"]:
        at = _time(error.get("at"))
        if at:
            text = f"{error.get('class')}: {error.get('text')}"
            moments.append(Moment(at, f"Attempt {error.get('attempt')} failed", text, "bad"))
    if job["started_at"] and job["attempt_number"] > 0:
        title = f"Begun, attempt {job['attempt_number']}"
        moments.append(Moment(job["started_at"], title, job["worker_id"] or ""))
    if job["completed_at"] and kind != "generate-image":
        moments.append(
            Moment(job["completed_at"], f"{kind} {job['status']}", job["error_message"] or "")
        )
    return moments


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else None


async def events(visit: Visit) -> Response:
    id_ = uuid_of(visit.request.path_params["id"])
    async with visit.reading() as reader:
        row = await reader.row(HAS_GENERATION, {"id": id_}) if id_ else None
    if id_ is None or row is None:
        raise NotFound("No generation has this id")  # nothing would ever end its stream
    return changes(visit.request, id_, visit.session.expires_at)


async def redrive(visit: Visit) -> Response:
    id_ = visit.request.path_params["id"]
    done = await visit.act("select public.redrive_generation(%(id)s)", {"id": uuid_of(id_)})
    return visit.done(f"/generations/{id_}", *done.said)


async def cancel(visit: Visit) -> Response:
    """By its job: what cancels a job cancels its generation."""
    id_ = visit.request.path_params["id"]
    values = {"id": uuid_of(visit.form.get("job")), "reason": "Cancelled by an operator"}
    done = await visit.act("select public.cancel_job(%(id)s, %(reason)s)", values)
    said = "The generation is cancelled" if done.value else "It had ended before"
    return visit.done(f"/generations/{id_}", said, *done.said)
