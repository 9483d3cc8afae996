"""GET /operate/charts/<name>.svg?span=…&type=…&size=narrow: throughput, wait and work of the last 1h, 48h or 30d.

All of queue_history, whose hours add up from its minutes; the newest hour, which is not over, from its minutes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from starlette.responses import Response

from functions._operate.charts import NARROW, WIDE, bars, lines, svg
from functions._operate.visit import Visit
from functions._shared.errors import NotFound

_HISTORY: LiteralString = """
with kept as (
    select case when %(hours)s then coalesce(max(begins_at) + interval '1 hour', '-infinity') else '-infinity' end
        as until
    from public.queue_history where grain = 'hour'
)
select
    date_bin(%(step)s, begins_at, %(start)s) as at,
    sum(completed)::int as completed,
    sum(failed)::int as failed,
    sum(cancelled)::int as cancelled,
    {times} as times
from public.queue_history
where begins_at >= %(start)s and (%(type)s = '' or job_type = %(type)s)
    and (
        (grain = 'hour' and %(hours)s)
        or (grain = 'minute' and begins_at >= greatest((select until from kept), %(start)s))
    )
group by 1
order by 1
"""
# Adding histograms up is most of the cost: each chart has its own added, and no other.
_TIMES: LiteralString = "picture_edge.percentiles(picture_edge.added(array_agg({counts})))"
COUNTS: LiteralString = _HISTORY.replace("{times}", "null")
WAITS: LiteralString = _HISTORY.replace("{times}", _TIMES.replace("{counts}", "wait_counts"))
WORKS: LiteralString = _HISTORY.replace("{times}", _TIMES.replace("{counts}", "work_counts"))


@dataclass(frozen=True)
class Span:
    """``label``: strftime's, of a bar's begin."""

    title: str
    step: timedelta
    bars: int
    label: str


SPANS: Mapping[str, Span] = {
    "1h": Span("1 hour", timedelta(minutes=1), 60, "%H:%M"),
    "48h": Span("48 hours", timedelta(hours=1), 48, "%a %H:%M"),
    "30d": Span("30 days", timedelta(hours=6), 120, "%-d %b"),
}
Rows = Sequence[Mapping[str, Any] | None]
Size = tuple[int, int]


def _throughput(rows: Rows, labels: Sequence[str], size: Size) -> bytes:
    """What has ended, by outcome."""
    counts = {
        name: [row[name] if row else 0 for row in rows]
        for name in ("completed", "failed", "cancelled")
    }
    return bars(counts, labels, size)


def _times(rows: Rows, labels: Sequence[str], size: Size) -> bytes:
    """Percentiles, of waits or of attempts."""
    found = [row["times"] if row else None for row in rows]
    half, most = ([times[place] if times else None for times in found] for place in (0, 1))
    return lines({"half within": half, "95 in 100 within": most}, labels, size)


Drawn = Callable[[Rows, Sequence[str], Size], bytes]
CHARTS: Mapping[str, tuple[LiteralString, Drawn]] = {
    "throughput": (COUNTS, _throughput),
    "wait": (WAITS, _times),
    "work": (WORKS, _times),
}


async def chart(visit: Visit) -> Response:
    chosen = CHARTS.get(visit.request.path_params["name"])
    span = SPANS.get(visit.asked("span") or "1h")
    if chosen is None or span is None:
        raise NotFound("There is no such chart")
    history, drawn = chosen
    start = _start(span, datetime.now(UTC))
    values = {
        "hours": span.step >= timedelta(hours=1),
        "step": span.step,
        "start": start,
        "type": visit.asked("type"),
    }
    async with visit.reading() as reader:
        found = {row["at"]: row for row in await reader.rows(history, values)}
    times = [start + place * span.step for place in range(span.bars)]
    labels = [at.strftime(span.label) for at in times]
    size = NARROW if visit.asked("size") == "narrow" else WIDE
    return svg(drawn([found.get(at) for at in times], labels, size))


def _start(span: Span, now: datetime) -> datetime:
    """The first bar's begin: of whole steps in UTC, the last bar is the one that now is in."""
    steps = int(now.timestamp() // span.step.total_seconds()) - span.bars + 1
    return datetime.fromtimestamp(steps * span.step.total_seconds(), UTC)
