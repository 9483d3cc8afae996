"""Jobs by a filter that stands in the address, and what an operator does to the ticked ones or to the whole filter.

GET  /operate/jobs?status=&type=&user=&error=&before=
POST /operate/change-jobs     do=cancel or redrive, of the ids that are ticked or of the filter: counts and asks; with
                             sure=yes it is done

Keyset pagination in the order of an index. What the index does not know is looked for in WINDOW rows a page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from starlette.responses import Response

from functions._operate.database import Reader
from functions._operate.identify import emails, user_of, uuid_of
from functions._operate.keyset import like, page_of, place
from functions._operate.render import count, query
from functions._operate.visit import Visit
from functions._shared.errors import InvalidRequest

PAGE = 50
WINDOW = 2000
"""Rows that a page looks through for its 50: bounds the time of a filter that matches few."""
LINE = 200
"""Waiting or running jobs that are shown: an operator looks at the head of the line."""
AT_ONCE = 1000
"""Jobs that one call changes: it locks them all, and ends within seconds."""
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")
ENDED = ("completed", "failed", "cancelled")
REASON = "Cancelled by an operator"

COLUMNS: LiteralString = """
id, job_type, status, attempt_number, max_attempts, created_at, scheduled_at, started_at, completed_at, created_by,
error_message, errors #>> '{-1, class}' as error_class, parked, payload ->> 'prompt' as prompt, priority
"""
MATCHES: LiteralString = """
(%(type)s = '' or job_type = %(type)s) and (%(status)s = '' or status = %(status)s)
and (%(user)s::uuid is null or created_by = %(user)s)
and (%(error)s = '' or error_message like %(like)s or errors #>> '{-1, class}' like %(like)s)
"""


@dataclass(frozen=True)
class Order:
    """Where jobs are read from, by an index: ``older``: the page behind a place; "" shows one page only."""

    where: LiteralString
    by: LiteralString
    at: LiteralString
    older: LiteralString = ""

    @property
    def statement(self) -> LiteralString:
        """The rows that match, and as its last row (``seen`` above 0) the place where the window ends."""
        older: LiteralString = f"and {self.older}" if self.older else ""
        return f"""
            with seen as materialized (
                select job.*, {self.at} as at, row_number() over () as place from (
                    select * from public.job_queue where {self.where} {older} order by {self.by} limit %(window)s
                ) as job
            )
            (select {COLUMNS}, at, place, 0 as seen from seen where {MATCHES} order by place limit %(page)s)
            union all
            (select {COLUMNS}, at, place, place as seen from seen order by place desc limit 1)
        """  # noqa: S608 - all parts are literals of ours


NEWEST = Order("true", "id desc", "created_at", "id < %(id)s")
OF_USER = Order(
    "created_by = %(user)s",
    "created_at desc, id desc",
    "created_at",
    "(created_at, id) < (%(at)s, %(id)s)",
)
FAILED = Order(
    "status = 'failed'",
    "completed_at desc, id desc",
    "completed_at",
    "(completed_at, id) < (%(at)s, %(id)s)",
)
ALL_ENDED = Order(
    "status in ('completed', 'failed', 'cancelled')",
    "completed_at desc, id desc",
    "completed_at",
    "(completed_at, id) < (%(at)s, %(id)s)",
)
# The index of claim_jobs: the jobs of a type stand in the order in which they are handed out, but for ageing.
IN_LINE = Order(
    "status = 'pending' and (%(type)s = '' or job_type = %(type)s)",
    "job_type, priority desc, share_rank, scheduled_at, id",
    "scheduled_at",
)
RUNNING = Order("status = 'processing'", "id", "started_at")


@dataclass(frozen=True)
class Filter:
    """As in the address; ``user`` is what was typed, ``user_id`` who that is."""

    status: str
    type: str
    user: str
    error: str
    user_id: UUID | None = None

    @property
    def address(self) -> dict[str, str]:
        return {"status": self.status, "type": self.type, "user": self.user, "error": self.error}

    @property
    def order(self) -> Order:
        if self.user_id:
            return OF_USER
        by_status = {"": NEWEST, "pending": IN_LINE, "processing": RUNNING, "failed": FAILED}
        return by_status.get(self.status, ALL_ENDED)

    @property
    def is_exact(self) -> bool:
        """Whether the index serves all of the filter: every row that it yields is one of the page."""
        rest = self.user or self.error or (self.type and self.order is not IN_LINE)
        return not rest and self.order in {NEWEST, FAILED, IN_LINE}

    @property
    def change(self) -> str | None:
        """What can be done to all that match: SQL's own filters have to say the same."""
        if self.status == "failed" and not self.user:
            return "redrive"
        if self.status in {"pending", "processing"} and not self.error:
            return "cancel"
        return None


async def jobs(visit: Visit) -> Response:
    id_ = uuid_of(visit.asked("user"))
    async with visit.reading() as reader:
        if id_ and await reader.row(
            "select id from public.job_queue where id = %(id)s", {"id": id_}
        ):
            return visit.go(f"/jobs/{id_}")  # a job's id in the field of users is found as well
        chosen = await _filter(reader, {name: visit.asked(name) for name in _NAMES})
        unknown = bool(chosen.user) and chosen.user_id is None
        found, older = ([], None) if unknown else await _page(reader, chosen, visit.asked("before"))
        addresses = await emails(reader, (row["created_by"] for row in found))
        types = await reader.rows(TYPES)
    return visit.show(
        "jobs.html",
        {
            "jobs": found,
            "older": older,
            "chosen": chosen,
            "unknown": unknown,
            "emails": addresses,
            "types": [row["job_type"] for row in types],
            "statuses": STATUSES,
            "before": visit.asked("before"),
            "window": WINDOW,
        },
    )


_NAMES = ("status", "type", "user", "error")
# The types that are known, that have ended lately, and that wait: the last by a loose index scan (skip scan).
TYPES = """
with recursive waiting as (
    (select job_type from public.job_queue where status = 'pending' order by job_type limit 1)
    union all
    select (
        select job_type from public.job_queue
        where status = 'pending' and job_type > waiting.job_type order by job_type limit 1
    )
    from waiting where waiting.job_type is not null
)
select job_type from public.job_types
union select job_type from public.queue_history where grain = 'minute' and begins_at > now() - interval '1 hour'
union (select job_type from waiting where job_type is not null limit 50)
order by job_type limit 50
"""


async def _filter(reader: Reader, asked: Mapping[str, str]) -> Filter:
    status = asked["status"] if asked["status"] in STATUSES else ""
    user_id = await user_of(reader, asked["user"]) if asked["user"] else None
    return Filter(status, asked["type"], asked["user"], asked["error"], user_id)


async def _page(reader: Reader, chosen: Filter, before: str) -> tuple[list[Any], str | None]:
    """The jobs, and the ``before`` of the next page: of its last job, or of the end of the window."""
    order = chosen.order
    at, id_ = place(before)
    most = PAGE if order.older else LINE
    window = most if chosen.is_exact else WINDOW
    values = {
        **chosen.address,
        "user": chosen.user_id,
        "like": like(chosen.error),
        "at": at,
        "id": id_,
        "window": window,
        "page": most,
    }
    found, rest = page_of(await reader.rows(order.statement, values), most, window)
    return found, rest if order.older else None


async def change(visit: Visit) -> Response:
    """Count and ask; with ``sure``, do it and go back to the list."""
    do, sure = visit.form.get("do"), visit.form.get("sure") == "yes"
    ids = [found for text in visit.form.all("id") if (found := uuid_of(text))]
    async with visit.reading() as reader:
        chosen = await _filter(reader, {name: visit.form.get(name) for name in _NAMES})
    if chosen.user and chosen.user_id is None:
        raise InvalidRequest("No user has this address")  # and not: no filter by user
    if do not in {"cancel", "redrive"}:
        raise InvalidRequest("An action is cancel or redrive")
    if visit.form.get("whole") == "yes":
        if do != chosen.change:
            raise InvalidRequest("This cannot be done to all that match this filter")
        done = await _of_filter(visit, do, chosen, sure=sure)
    elif ids:
        done = await _of_ids(visit, do, ids, sure=sure)
    else:
        return visit.done(f"/jobs{query(chosen.address)}", "No job is ticked", trouble=True)
    if sure:
        word = "are cancelled" if do == "cancel" else "run again"
        return visit.done(f"/jobs{query(chosen.address)}", f"{count(done)} jobs {word}")
    ticked = [] if visit.form.get("whole") == "yes" else ids
    values = {"do": do, "count": done, "chosen": chosen, "ids": ticked, "at_once": AT_ONCE}
    return visit.show("jobs_change.html", values)


async def _of_filter(visit: Visit, do: str, chosen: Filter, *, sure: bool) -> int:
    values = {
        "type": chosen.type or ("*" if do == "cancel" else None),
        "like": like(chosen.error) if chosen.error else None,
        "user": chosen.user_id,
        "statuses": [chosen.status],
        "limit": AT_ONCE if sure else AT_ONCE + 1,
        "dry_run": not sure,
        "reason": REASON,
    }
    call = REDRIVE_ALL if do == "redrive" else CANCEL_ALL
    return int((await visit.act(call, values)).value)


async def _of_ids(visit: Visit, do: str, ids: list[UUID], *, sure: bool) -> int:
    """How many of them can be changed, or were."""
    from_ = ["failed", "cancelled"] if do == "redrive" else ["pending", "processing"]
    values = {"ids": ids, "from": from_, "reason": REASON}
    call = COUNT_IDS if not sure else REDRIVE_IDS if do == "redrive" else CANCEL_IDS
    return int((await visit.act(call, values)).value)


REDRIVE_ALL = """
select public.redrive_failed(
    p_job_type => %(type)s, p_limit => %(limit)s, p_error_like => %(like)s, p_dry_run => %(dry_run)s)
"""
CANCEL_ALL = """
select public.cancel_jobs(
    p_job_type => %(type)s, p_limit => %(limit)s, p_user_id => %(user)s, p_statuses => %(statuses)s,
    p_reason => %(reason)s, p_dry_run => %(dry_run)s)
"""
COUNT_IDS = (
    "select count(*) from public.job_queue where id = any (%(ids)s) and status = any (%(from)s)"
)
# In the order of ids, as every statement that locks several jobs: no deadlock among them.
CANCEL_IDS = """
select count(*) filter (where public.cancel_job(id, %(reason)s)) from (
    select id from public.job_queue where id = any (%(ids)s) and status = any (%(from)s) order by id) as job
"""
REDRIVE_IDS = """
select count(*) filter (where public.redrive_job(id)) from (
    select id from public.job_queue where id = any (%(ids)s) and status = any (%(from)s) order by id) as job
"""
