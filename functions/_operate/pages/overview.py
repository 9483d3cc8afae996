"""The overview: whether all is well, and where it is not; the queue's figures, its charts, provider, clock, workers.

GET  /operate
POST /operate/pause, /operate/resume    type=…: pause_queue, resume_queue
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from functions._operate.health import Row, troubles
from functions._operate.pages.charts import SPANS
from functions._operate.visit import Visit

QUEUE = """
select job_type, status, jobs, due, oldest_due_seconds from public.queue_stats order by jobs desc
"""
# queue_history has each minute once it is over for a minute; what has ended since comes from the queue itself.
HOUR = """
with kept as (
    select greatest(coalesce(max(begins_at) + interval '1 minute', '-infinity'), now() - interval '2 hours') as until
    from public.queue_history where grain = 'minute'
),
ended as (
    select begins_at as at, completed, failed, failures
    from public.queue_history
    where grain = 'minute' and begins_at >= now() - interval '2 hours'
    union all
    select completed_at, (status = 'completed')::int, (status = 'failed')::int, case when status = 'failed'
        then jsonb_build_object(coalesce(errors #>> '{-1, class}', 'unknown'), 1) else '{}' end
    from public.job_queue
    where status in ('completed', 'failed', 'cancelled') and completed_at >= (select until from kept)
)
select
    coalesce(sum(completed) filter (where at >= now() - interval '1 hour'), 0) as completed,
    coalesce(sum(failed) filter (where at >= now() - interval '1 hour'), 0) as failed,
    coalesce(sum(failed) filter (where at < now() - interval '1 hour'), 0) as failed_before,
    picture_edge.added(array_agg(failures) filter (where failures <> '{}' and at >= now() - interval '1 hour'))
        as classes,
    picture_edge.added(array_agg(failures) filter (where failures <> '{}' and at < now() - interval '1 hour'))
        as classes_before
from ended
"""
STATE = """
select
    (select extract(epoch from picture_edge.tick_overdue())::float8) as tick_overdue_s,
    (select extract(epoch from clock_timestamp() - ticked_at)::float8 from public.cron_ticks) as tick_age_s,
    (select count(*) > 0 from public.cron_ticks) as is_scheduled,
    (
        select count(*) from public.job_queue
        where status = 'processing' and lease_expires_at < clock_timestamp() - interval '30 seconds'
    ) as abandoned,
    (select count(*) from public.job_queue where status = 'processing' and parked) as parked,
    picture_edge.spent(date_trunc('day', now(), 'UTC')) as spent_today,
    (select daily_usd from public.budgets where scope = 'all') as daily_usd,
    picture_edge.spent(date_trunc('month', now(), 'UTC')) as spent_month,
    (select monthly_usd from public.budgets where scope = 'all') as monthly_usd
"""
PAUSED = """
select paused_queues.job_type, paused_queues.paused_at, coalesce(held.jobs, 0) as jobs
from public.paused_queues
left join picture_edge.paused_due() as held on held.job_type = paused_queues.job_type
order by paused_queues.job_type
"""
PROVIDERS = """
select provider, not_before, spacing, spaced_until, per_minute, in_flight,
    not_before > clock_timestamp() as is_refusing,
    spaced_until > clock_timestamp() and spacing > interval '0' as is_spacing,
    isfinite(not_before) as has_refused
from public.provider_limits order by provider limit 20
"""
WORKERS = """
select worker_id, host, version, started_at, last_seen_at, running, slots, job_types,
    last_seen_at > clock_timestamp() - interval '30 seconds' as is_alive
from public.workers order by last_seen_at desc limit 100
"""
UNHANDLED = "select job_type, jobs from picture_edge.unhandled_due(%(handled)s)"


async def overview(visit: Visit) -> Response:
    async with visit.reading() as reader:
        queue = await reader.rows(QUEUE)
        hour = await reader.row(HOUR) or {}
        state = await reader.row(STATE) or {}
        paused = await reader.rows(PAUSED)
        providers = await reader.rows(PROVIDERS)
        workers = await reader.rows(WORKERS)
        handled = sorted({one for row in workers if row["is_alive"] for one in row["job_types"]})
        unhandled = await reader.rows(UNHANDLED, {"handled": handled}) if handled else []
    wrong = troubles(queue, hour, state, paused, providers, workers, unhandled)
    types = by_type(queue)
    span = visit.asked("span")
    return visit.show(
        "overview.html",
        {
            "types": types,
            "total": total(types.values()),
            "hour": hour,
            "classes": classes(hour),
            "state": state,
            "paused": paused,
            "providers": providers,
            "workers": workers,
            "troubles": wrong,
            "spans": SPANS,
            "span": span if span in SPANS else "1h",
        },
    )


async def pause(visit: Visit) -> Response:
    done = await visit.act("select public.pause_queue(%(type)s)", {"type": visit.form.get("type")})
    return visit.done("", *done.said)


async def resume(visit: Visit) -> Response:
    job_type = visit.form.get("type")
    done = await visit.act("select public.resume_queue(%(type)s)", {"type": job_type})
    ended = f"The pause of {job_type} has ended: its jobs run again"
    return visit.done("", *([ended] if done.value else []), *done.said)


@dataclass
class TypeLine:
    """A job type's line: ``oldest_s`` None where none is due; completed and failed within 24 hours."""

    waiting: int = 0
    due: int = 0
    oldest_s: float | None = None
    running: int = 0
    completed: int = 0
    failed: int = 0


def by_type(queue: Sequence[Row]) -> dict[str, TypeLine]:
    """queue_stats as a line for each job type, in the order of their first row."""
    lines: dict[str, TypeLine] = {}
    for row in queue:
        line = lines.setdefault(row["job_type"], TypeLine())
        match row["status"]:
            case "pending":
                line.waiting, line.due, line.oldest_s = (
                    row["jobs"],
                    row["due"],
                    row["oldest_due_seconds"],
                )
            case "processing":
                line.running = row["jobs"]
            case "completed":
                line.completed = row["jobs"]
            case "failed":
                line.failed = row["jobs"]
    return lines


def total(lines: Collection[TypeLine]) -> TypeLine:
    """Over all types: what waits and runs now."""
    return TypeLine(
        waiting=sum(line.waiting for line in lines),
        due=sum(line.due for line in lines),
        oldest_s=max((line.oldest_s for line in lines if line.oldest_s is not None), default=None),
        running=sum(line.running for line in lines),
    )


def classes(hour: Row) -> list[tuple[str, int, int]]:
    """(class, failures of this hour, of the one before), the most frequent first."""
    now, before = hour.get("classes") or {}, hour.get("classes_before") or {}
    counted = [(name, int(now.get(name, 0)), int(before.get(name, 0))) for name in {*now, *before}]
    return sorted(counted, key=lambda one: (-one[1], -one[2], one[0]))[:12]
