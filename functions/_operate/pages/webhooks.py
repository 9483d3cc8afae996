"""Webhooks out: what was sent to whom, what fails and why, and sending one again.

GET  /operate/webhooks               state=failing|waiting|delivered host=… before=… (the id of the last job above)
POST /operate/webhooks/<id>/resend   resend_webhook

The query of an address is never shown: receivers put their secrets there.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.responses import Response

from functions._operate.identify import uuid_of
from functions._operate.visit import Visit

PAGE = 50
WINDOW = 10_000
"""Jobs that a page looks through for its webhooks: no index knows their type once they have ended."""
STATES: Mapping[str, str] = {"failing": "Failing", "waiting": "Waiting", "delivered": "Delivered"}
NEWEST = UUID(int=2**128 - 1)

SEEN = """
with seen as materialized (
    select *, row_number() over () as place from (
        select id, job_type, status, attempt_number, max_attempts, created_at, scheduled_at, completed_at,
            error_message, errors #>> '{-1, text}' as last_error, payload ->> 'type' as event,
            payload ->> 'generation_id' as generation_id, result ->> 'status' as answer,
            payload ->> 'webhook_url' as url
        from public.job_queue where id < %(before)s order by id desc limit %(window)s
    ) as newest
),
webhooks as (
    select *,
        coalesce(substring(url from '^https?://(?:[^/?#@]*@)?([^/?#]+)'), '') as host,
        coalesce(substring(url from '^https?://[^/?#]+(/[^?#]*)'), '/') as path,
        case
            when status = 'completed' then 'delivered'
            when status = 'cancelled' then 'cancelled'
            when status = 'failed' or last_error is not null then 'failing'
            else 'waiting'
        end as state
    from seen where job_type = 'send-webhook'
)
"""
LIST = f"""{SEEN}
(
    select *, 0 as ends from webhooks
    where (%(state)s = '' or state = %(state)s) and (%(host)s = '' or host = %(host)s)
    order by place limit %(page)s
)
union all
(
    select seen.*, '', '', '', seen.place from seen order by place desc limit 1
)
"""  # noqa: S608 - both parts are literals of ours
RECEIVERS = f"""{SEEN}
select host, count(*) filter (where state = 'delivered') as delivered,
    count(*) filter (where state = 'failing') as failing, count(*) filter (where state = 'waiting') as waiting,
    max(completed_at) filter (where state = 'delivered') as delivered_at,
    (array_agg(coalesce(error_message, last_error) order by place) filter (where state = 'failing'))[1] as error
from webhooks group by host order by failing desc, delivered desc, host limit 20
"""  # noqa: S608 - both parts are literals of ours


async def webhooks(visit: Visit) -> Response:
    state = visit.asked("state")
    asked = {"state": state if state in STATES else "", "host": visit.asked("host")}
    before = uuid_of(visit.asked("before"))
    window = {"window": WINDOW}
    async with visit.reading() as reader:
        values = {**asked, **window, "before": before or NEWEST, "page": PAGE}
        rows = await reader.rows(LIST, values)
        receivers = await reader.rows(RECEIVERS, {**window, "before": NEWEST})
    found = [row for row in rows if not row["ends"]]
    return visit.show(
        "webhooks.html",
        {
            "webhooks": found,
            "receivers": receivers,
            "older": _older(found, [row for row in rows if row["ends"]]),
            "is_first": before is None,
            "asked": asked,
            "states": STATES,
            "window": WINDOW,
        },
    )


def _older(found: list[dict[str, Any]], ends: list[dict[str, Any]]) -> UUID | None:
    """Where the next page begins: behind the last webhook, or where none was left in the window, behind that."""
    if len(found) == PAGE:
        last: UUID = found[-1]["id"]
        return last
    return ends[0]["id"] if ends and ends[0]["ends"] == WINDOW else None


async def resend(visit: Visit) -> Response:
    values = {"id": uuid_of(visit.request.path_params["id"])}
    done = await visit.act("select public.resend_webhook(%(id)s)", values)
    return visit.done("/webhooks", *done.said, trouble=done.value is None)
