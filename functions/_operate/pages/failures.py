"""Failures: grouped by what failed, each group with its jobs and a redrive.

GET  /operate/failures            span=1h|24h|7d|all
GET  /operate/failures/redrive    type=… like=… since=… until=…: how many would run again, and the question whether to
POST /operate/failures/redrive    the same and limit=…: redrive_failed
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from starlette.responses import Response

from functions._operate.inputs import moment, whole
from functions._operate.render import count
from functions._operate.visit import READ_ONLY, Visit
from functions._shared.errors import Forbidden, InvalidRequest
from functions._shared.foreign import text

NEWEST = 2000
"""Failures that are read and grouped: 40 ms."""
AT_ONCE = 1000
"""Jobs that one confirmation redrives, so that it ends well within the time of an action."""
SHOWN = 100
"""Groups of a page."""
MAX_LIKE = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

GROUPS = """
select class, job_type, error_like, jobs, first_at, last_at, left(example, 600) as example, example_id
from public.failure_groups(%(since)s, %(until)s, %(newest)s)
"""
REDRIVE = """
select public.redrive_failed(
    p_job_type => %(type)s, p_limit => %(limit)s, p_since => %(since)s, p_until => %(until)s, p_error_like => %(like)s,
    p_dry_run => %(dry_run)s
)
"""
SPANS: Mapping[str, tuple[str, timedelta | None]] = {
    "1h": ("1 hour", timedelta(hours=1)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "all": ("All", None),
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The jobs of a group: all that redrive_failed's filter says. ``since``, ``until``: when they failed."""

    type: str
    like: str
    since: datetime
    until: datetime

    def fields(self) -> Mapping[str, str]:
        """As an address or a form carries it."""
        return {
            "type": self.type,
            "like": self.like,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }

    def arguments(self, limit: int, *, dry_run: bool) -> Mapping[str, object]:
        return {**vars(self), "limit": limit, "dry_run": dry_run}


async def failures(visit: Visit) -> Response:
    asked = visit.asked("span")
    span = asked if asked in SPANS else "24h"
    length = SPANS[span][1]
    until = datetime.now(UTC)
    since = until - length if length else EPOCH
    async with visit.reading() as reader:
        groups = await reader.rows(GROUPS, {"since": since, "until": until, "newest": NEWEST})
    return visit.show(
        "failures.html",
        {
            "classes": by_class(groups[:SHOWN]),
            "left_out": len(groups[SHOWN:]),
            "total": sum(group["jobs"] for group in groups),
            "newest": NEWEST,
            "span": span,
            "spans": {name: title for name, (title, _) in SPANS.items()},
            "fragment": fragment,
            "chosen": lambda group: Chosen(
                group["job_type"], group["error_like"], since, until
            ).fields(),
        },
    )


async def ask_redrive(visit: Visit) -> Response:
    """How many would run again, counted by redrive_failed itself; nothing is changed."""
    if not visit.may_write:
        raise Forbidden(READ_ONLY)
    chosen = _chosen({name: text(value) for name, value in visit.request.query_params.items()})
    counted = await visit.act(REDRIVE, chosen.arguments(AT_ONCE, dry_run=True))
    return visit.show(
        "failures_redrive.html",
        {"chosen": chosen, "jobs": counted.value, "hints": counted.said[:-1], "at_once": AT_ONCE},
    )


async def redrive(visit: Visit) -> Response:
    names = ("type", "like", "since", "until", "limit")
    sent = {name: visit.form.get(name) for name in names}
    chosen = _chosen(sent)
    limit = min(whole("limit", sent["limit"]) or 0, AT_ONCE)
    done = await visit.act(REDRIVE, chosen.arguments(limit, dry_run=False))
    if not done.value:
        nothing = "Nothing was redriven: these jobs run again already, or are gone"
        return visit.done("/failures", nothing, *done.said, trouble=True)
    left = limit - done.value
    rest = (f"{count(left)} others were left as they are: see above, or they run again already",)
    return visit.done("/failures", *done.said, *(rest if left > 0 else ()))


def by_class(groups: Sequence[Row]) -> Sequence[tuple[str, int, Sequence[Row]]]:
    """(class, its jobs, its groups), the class with the most jobs first; groups as they came."""
    ordered = sorted(groups, key=itemgetter("class"))
    classes = [(name, list(members)) for name, members in groupby(ordered, itemgetter("class"))]
    counted = [(name, sum(row["jobs"] for row in rows), rows) for name, rows in classes]
    return sorted(counted, key=lambda one: (-one[1], one[0]))


def fragment(pattern: str | None) -> str:
    """The longest text in a pattern that has no wildcard: what the list of jobs looks for."""
    parts = re.findall(r"(?:[^\\%]|\\.)+", pattern or "", re.DOTALL)
    return re.sub(r"\\(.)", r"\1", max(parts, key=len, default=""), flags=re.DOTALL).strip()


def _chosen(sent: Mapping[str, str]) -> Chosen:
    """Raises InvalidRequest for what no group's link has."""
    chosen = {name: sent.get(name, "") for name in ("type", "like")}
    since, until = (moment(name, sent.get(name, "")) for name in ("since", "until"))
    like = chosen["like"]
    if not chosen["type"] or not like or since is None or until is None:
        raise InvalidRequest("type, like, since and until must be given: begin at Failures")
    if len(like) > MAX_LIKE or len(chosen["type"]) > MAX_LIKE:
        raise InvalidRequest(f"type and like must be texts of at most {MAX_LIKE} characters")
    if (len(like) - len(like.rstrip("\\"))) % 2:
        raise InvalidRequest("like must be a pattern of LIKE: it may not end with one backslash")
    return Chosen(chosen["type"], like, since, until)
