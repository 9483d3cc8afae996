"""Users: who spends most, and of one: quotas and their use, budgets, what waits; cancel all of it.

GET  /operate/users                  span=today|7d|30d q=… (an e-mail address or an id: on to that user)
GET  /operate/users/<id>
GET  /operate/users/<id>/cancel      how many would be cancelled, and the question whether to
POST /operate/users/<id>/cancel      cancel_jobs
POST /operate/users/<id>/quota       running=… hourly=… daily=…: set_user_quota
POST /operate/users/<id>/budget      daily_usd=… monthly_usd=…: set_budget
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from starlette.responses import Response

from functions._operate.identify import emails, user_of, uuid_of
from functions._operate.inputs import whole
from functions._operate.visit import READ_ONLY, Visit
from functions._shared.errors import Forbidden, InvalidRequest, NotFound

SPANS: Mapping[str, tuple[str, LiteralString]] = {
    "today": ("Today (UTC)", "date_trunc('day', now(), 'UTC')"),
    "7d": ("7 days", "now() - interval '7 days'"),
    "30d": ("30 days", "now() - interval '30 days'"),
}
NEWEST = 50_000
"""Lines of the ledger that are added up: bounds the page, whatever a day brings."""
SHOWN = 50
AT_ONCE = 1000
"""Jobs that one confirmation cancels, so that it ends well within the time of an action."""
MAX_USD = Decimal(1_000_000_000)
AMOUNT = re.compile(r"[0-9]{0,10}(?:[0-9]|\.[0-9]{1,6})")

SPENDERS: Mapping[str, LiteralString] = {
    span: f"""
        select user_id, count(*) as predictions, count(*) filter (where status = 'succeeded') as succeeded,
            sum(usd - refunded_usd) as usd, count(*) filter (where usd is null) as unpriced, max(at) as last_at,
            sum(count(*)) over () as read
        from (
            select user_id, status, usd, refunded_usd, at from public.spend
            where at >= {since} order by at desc limit %(newest)s
        ) as newest
        group by user_id
        order by sum(usd - refunded_usd) desc nulls last, count(*) desc, user_id
        limit %(shown)s
    """  # noqa: S608 - literals of ours
    for span, (_, since) in SPANS.items()
}
QUOTAS = "select name, quota, used, free_at from picture_edge.quota_use(%(id)s)"
OWN_QUOTA = "select running, hourly, daily from public.user_quotas where user_id = %(id)s"
BUDGET = """
select daily_usd, monthly_usd, scope = 'user' as is_shared from public.budgets
where scope in (%(id)s::text, 'user') order by is_shared limit 1
"""
SPENT = """
select
    picture_edge.spent(date_trunc('day', now(), 'UTC'), %(id)s) as today,
    picture_edge.spent(date_trunc('month', now(), 'UTC'), %(id)s) as this_month
"""
UNDER_WAY = """
select count(*) filter (where status = 'pending') as waiting, count(*) filter (where status = 'processing') as running,
    count(*) as read
from (
    select status from public.job_queue where created_by = %(id)s order by created_at desc limit 10000
) as newest
"""
CANCEL = """
select public.cancel_jobs('*', %(limit)s, %(id)s, '{pending, processing}', p_dry_run => %(dry_run)s)
"""


async def users(visit: Visit) -> Response:
    asked, q = visit.asked("span"), visit.asked("q")
    span = asked if asked in SPANS else "today"
    async with visit.reading() as reader:
        found = await user_of(reader, q) if q else None
        if found:
            return visit.go(f"/users/{found}")
        spenders = await reader.rows(SPENDERS[span], {"newest": NEWEST, "shown": SHOWN})
        addresses = await emails(reader, (row["user_id"] for row in spenders))
    return visit.show(
        "users.html",
        {
            "users": spenders,
            "emails": addresses,
            "span": span,
            "spans": {name: title for name, (title, _) in SPANS.items()},
            "q": q,
            "newest": NEWEST,
            "shown": SHOWN,
            "is_cut": bool(spenders) and spenders[0]["read"] >= NEWEST,
        },
    )


async def user(visit: Visit) -> Response:
    values = {"id": _id_of(visit)}
    async with visit.reading() as reader:
        addresses = await emails(reader, [values["id"]])
        shown: dict[str, Any] = {
            "quotas": await reader.rows(QUOTAS, values),
            "own_quota": await reader.row(OWN_QUOTA, values),
            "budget": await reader.row(BUDGET, values),
            "spent": await reader.row(SPENT, values),
            "under_way": await reader.row(UNDER_WAY, values),
        }
    return visit.show(
        "user.html", {"id": values["id"], "email": addresses.get(values["id"]), **shown}
    )


async def ask_cancel(visit: Visit) -> Response:
    if not visit.may_write:
        raise Forbidden(READ_ONLY)
    id_ = _id_of(visit)
    counted = await visit.act(CANCEL, {"id": id_, "limit": AT_ONCE, "dry_run": True})
    async with visit.reading() as reader:
        addresses = await emails(reader, [id_])
    values = {"id": id_, "email": addresses.get(id_), "jobs": counted.value, "at_once": AT_ONCE}
    return visit.show("user_cancel.html", values)


async def cancel(visit: Visit) -> Response:
    id_ = _id_of(visit)
    done = await visit.act(CANCEL, {"id": id_, "limit": AT_ONCE, "dry_run": False})
    return visit.done(f"/users/{id_}", *done.said)


async def set_quota(visit: Visit) -> Response:
    id_ = _id_of(visit)
    names = ("running", "hourly", "daily")
    numbers = {name: whole(name, visit.form.get(name).strip()) for name in names}
    if any(number is not None and number > 2**31 - 1 for number in numbers.values()):
        raise InvalidRequest("A quota must be less than 2147483648")
    done = await visit.act(
        "select public.set_user_quota(%(id)s, %(running)s, %(hourly)s, %(daily)s)",
        {"id": id_, **numbers},
    )
    return visit.done(f"/users/{id_}", *done.said)


async def set_budget(visit: Visit) -> Response:
    id_ = _id_of(visit)
    amounts = {name: _usd(name, visit.form.get(name)) for name in ("daily_usd", "monthly_usd")}
    done = await visit.act(
        "select public.set_budget(%(daily_usd)s, %(monthly_usd)s, %(scope)s)",
        {"scope": str(id_), **amounts},
    )
    return visit.done(f"/users/{id_}", *done.said)


def _id_of(visit: Visit) -> UUID:
    id_ = uuid_of(visit.request.path_params["id"])
    if id_ is None:
        raise NotFound("No user has this id")
    return id_


def _usd(name: str, text: str) -> Decimal | None:
    """An amount with a point; None for "". Raises InvalidRequest."""
    if not text.strip():
        return None
    # No exponents: PostgreSQL's numeric does not hold 1e-99999.
    if not AMOUNT.fullmatch(text.strip()) or (amount := Decimal(text.strip())) > MAX_USD:
        raise InvalidRequest(f"{name} must be an amount of US dollars such as 2.50")
    return amount
