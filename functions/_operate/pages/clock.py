"""Clock: pg_cron's jobs with their last and next runs, whether process-jobs is called, pg_net's calls that failed.

GET  /operate/clock    runs=failed before=… (the id of the last run above)
POST /operate/clock    name=… do=run, pause or resume: run_cron_job_now, pause_cron_job, resume_cron_job
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from starlette.responses import Response

from functions._operate.database import Reader
from functions._operate.inputs import whole
from functions._operate.render import spoken
from functions._operate.visit import Visit
from functions._shared.cron import read_schedule, time_zone
from functions._shared.database.sqlstates import is_down
from functions._shared.errors import InvalidRequest

SHOWN = 25
CALLS_HOURS = 6
"""pg_net keeps no response for longer (pg_net.ttl)."""

# The extensions may be absent, and their tables closed to this login.
MAY_READ = """
with records (name, relation, namespace) as (
    values
    ('jobs', to_regclass('cron.job'), to_regnamespace('cron')),
    ('runs', to_regclass('cron.job_run_details'), to_regnamespace('cron')),
    ('calls', to_regclass('net._http_response'), to_regnamespace('net'))
)
select
    jsonb_object_agg(name, coalesce(
        has_schema_privilege(namespace::oid, 'usage') and has_table_privilege(relation::oid, 'select'), false
    )) as may_read,
    current_user as role,
    current_setting('cron.timezone', true) as zone
from records
"""
STATE = """
select
    picture_edge.clock_records() as records,
    extract(epoch from picture_edge.tick_overdue())::float8 as overdue_s,
    (select count(*) > 0 from public.cron_ticks) as is_scheduled,
    (select extract(epoch from clock_timestamp() - ticked_at)::float8 from public.cron_ticks) as tick_age_s,
    (select extract(epoch from distance)::float8 from public.cron_ticks) as distance_s
"""
# pg_cron has no index on a run's job: the newest runs only, by their primary key.
JOBS = """
select job.jobid, job.jobname, job.schedule, job.active, left(job.command, 4000) as command, last.status,
    last.start_time, left(split_part(btrim(last.return_message), e'\n', 1), 300) as message
from cron.job
left join (
    select distinct on (recent.jobid) recent.jobid, recent.status, recent.start_time, recent.return_message
    from (
        select jobid, runid, status, start_time, return_message
        from cron.job_run_details order by runid desc limit 5000
    ) as recent
    order by recent.jobid, recent.runid desc
) as last using (jobid)
order by job.jobname, job.jobid
limit 100
"""
RUNS = """
select recent.runid, recent.jobid, job.jobname, recent.status, recent.start_time,
    extract(epoch from recent.end_time - recent.start_time)::float8 as took_s,
    left(split_part(btrim(recent.return_message), e'\n', 1), 300) as message
from (
    select jobid, runid, status, start_time, end_time, return_message
    from cron.job_run_details
    where %(before)s::bigint is null or runid < %(before)s
    order by runid desc
    limit 5000
) as recent
left join cron.job using (jobid)
where not %(failed)s or recent.status = 'failed'
order by recent.runid desc
limit %(limit)s
"""
CALLS = """
select created, status_code, timed_out, left(split_part(error_msg, e'\n', 1), 300) as message
from net._http_response
where created > now() - make_interval(hours => %(hours)s) and coalesce(status_code, 0) not between 200 and 299
order by created desc
limit %(limit)s
"""
ACTIONS: Mapping[str, LiteralString] = {
    "run": "select public.run_cron_job_now(%(name)s)",
    "pause": "select public.pause_cron_job(%(name)s)",
    "resume": "select public.resume_cron_job(%(name)s)",
}
Row = Mapping[str, Any]


async def clock(visit: Visit) -> Response:
    failed = visit.asked("runs") == "failed"
    before = whole("before", visit.asked("before"))
    async with visit.reading() as reader:
        told = await reader.row(MAY_READ) or {}
        may_read = told["may_read"]
        state = await reader.row(STATE) or {}
        jobs = await _if(may_read["jobs"], reader, JOBS, {})
        # Names of runs come from the jobs: both tables, or neither.
        may_read["runs"] = may_read["runs"] and may_read["jobs"]
        asked = {"before": before, "failed": failed, "limit": SHOWN + 1}
        runs = await _if(may_read["runs"], reader, RUNS, asked)
        calls = await _if(may_read["calls"], reader, CALLS, {"hours": CALLS_HOURS, "limit": SHOWN})
    zone = time_zone(told["zone"])
    return visit.show(
        "clock.html",
        {
            "may_read": may_read,
            "found": found(state),
            "role": told["role"],
            "zone": told["zone"] or "UTC",
            "jobs": [{**job, **_next(job, datetime.now(zone))} for job in jobs],
            "runs": runs[:SHOWN],
            "older": runs[SHOWN - 1]["runid"] if len(runs) > SHOWN else None,
            "before": before,
            "failed": failed,
            "calls": calls,
            "calls_hours": CALLS_HOURS,
        },
    )


async def change(visit: Visit) -> Response:
    call = ACTIONS.get(visit.form.get("do"))
    if call is None:
        raise InvalidRequest("An action of the clock is run, pause or resume")
    try:
        done = await visit.act(call, {"name": visit.form.get("name")})
    except psycopg.Error as error:
        if is_down(error):
            raise
        # The command is SQL of anybody's, and its error the answer.
        return visit.done("/clock", f"It has failed: {error.diag.message_primary}", trouble=True)
    return visit.done("/clock", *done.said, trouble=not done.value)


async def _if(
    may: bool, reader: Reader, query: LiteralString, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return await reader.rows(query, values) if may else []


def found(state: Row) -> Sequence[Mapping[str, str]]:
    """(kind, title, text) of what is to be told, the ticks first; ``kind``: "" is bad."""
    records = [{"kind": "", "title": text, "text": ""} for text in state["records"]]
    return [_ticks(state), *records]


def _ticks(state: Row) -> Mapping[str, str]:
    if state["overdue_s"] is not None:
        return {
            "kind": "",
            "title": "The clock is silent",
            "text": f"It has not called process-jobs for {spoken(state['overdue_s'])}. Running gateways still take new"
            " jobs at once; a job whose wake-up is lost waits. The last runs and calls below tell why.",
        }
    if not state["is_scheduled"]:
        return {
            "kind": "warn",
            "title": "Nothing is scheduled",
            "text": "A job whose wake-up is lost waits until the next one comes, and nothing is cleaned up. select"
            " schedule_process_jobs('https://this address', 'service role key') does it.",
        }
    if state["tick_age_s"] is None:
        return {
            "kind": "warn",
            "title": "Scheduled",
            "text": "Its first call of process-jobs is yet to come.",
        }
    each = f", {spoken(state['distance_s'])} after the one before" if state["distance_s"] else ""
    return {
        "kind": "good",
        "title": "The clock ticks",
        "text": f"It called process-jobs {spoken(state['tick_age_s'])} ago{each}.",
    }


def _next(job: Row, now: datetime) -> Mapping[str, Any]:
    """``next``: when a job runs next, and where no time is known ``next_words``; ``now`` in pg_cron's time zone."""
    try:
        schedule = read_schedule(job["schedule"])
    except (ValueError, IndexError):  # another pg_cron may know more forms
        return {"next": None, "next_words": "not known"}
    if schedule.at_start:
        return {"next": None, "next_words": "when the server starts"}
    if schedule.seconds:
        began = job["start_time"] or now
        due = max(began + timedelta(seconds=schedule.seconds), now)
        return {"next": due.astimezone(UTC), "next_words": ""}
    return {"next": schedule.next_due(now), "next_words": "never"}
