"""Workers: every process that runs jobs, the dead told from the living, and who runs which type of job.

GET /operate/workers
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from functions._operate.visit import Visit

SHOWN = 200
"""Processes of a page, those heard of last."""

WORKERS = """
select
    worker_id, host, version, started_at, last_seen_at, running, slots, job_types,
    last_seen_at > clock_timestamp() - interval '30 seconds' as is_alive,
    extract(epoch from clock_timestamp() - last_seen_at)::float8 as silent_s,
    coalesce(held.jobs, 0) as held
from public.workers
left join lateral (
    select count(*) as jobs
    from (
        select worker_id from public.job_queue where status = 'processing' and not parked limit 10000
    ) as running
    where running.worker_id = workers.worker_id and workers.last_seen_at <= clock_timestamp() - interval '30 seconds'
) as held on true
order by is_alive desc, last_seen_at desc
limit %(shown)s
"""
# Loose index scan (skip scan): one step for each type that waits, however many jobs of it do.
TYPES = """
with recursive found as (
    (select job_type from public.job_queue where status = 'pending' order by job_type limit 1)
    union all
    select (
        select later.job_type from public.job_queue as later
        where later.status = 'pending' and later.job_type > found.job_type
        order by later.job_type limit 1
    )
    from found
    where found.job_type is not null
),
waiting as (
    select
        found.job_type,
        exists (
            select from public.job_queue
            where job_queue.status = 'pending' and job_queue.job_type = found.job_type
                and job_queue.scheduled_at <= clock_timestamp()
        ) as is_due
    from found
    where found.job_type is not null
    limit 100
)
select
    job_type,
    waiting.job_type is not null as waits,
    coalesce(waiting.is_due, false) as is_due,
    paused_queues.paused_at,
    case when job_type <> all (%(handled)s::text[]) then picture_edge.nearest_name(job_type, %(handled)s) end as nearest
from (select unnest(%(handled)s::text[]) as job_type) as handled
full join waiting using (job_type)
left join public.paused_queues using (job_type)
order by job_type
"""
PAUSED_ALL = "select paused_at from public.paused_queues where job_type = '*'"


async def workers(visit: Visit) -> Response:
    async with visit.reading() as reader:
        rows = await reader.rows(WORKERS, {"shown": SHOWN})
        living = [row for row in rows if row["is_alive"]]
        handled = sorted({one for row in living for one in row["job_types"]})
        types = await reader.rows(TYPES, {"handled": handled})
        paused_all = await reader.row(PAUSED_ALL)
    return visit.show(
        "workers.html",
        {
            "workers": rows,
            "living": len(living),
            "running": sum(row["running"] for row in living),
            "slots": sum(row["slots"] for row in living),
            "versions": sorted({row["version"] for row in living}),
            "types": types,
            "runners": runners(living),
            "paused_all": paused_all,
            "shown": SHOWN,
        },
    )


def runners(living: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    """How many of the living have a handler for each type."""
    found: dict[str, int] = {}
    for row in living:
        for job_type in set(row["job_types"]):
            found[job_type] = found.get(job_type, 0) + 1
    return found
