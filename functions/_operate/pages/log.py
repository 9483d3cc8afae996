"""Log of operators: who did what to which jobs, when; newest first.

GET /operate/log    operator=… action=… since=… until=… (ISO 8601, UTC) before=… (the id of the last line above)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from functions._operate.inputs import moment, whole
from functions._operate.visit import Visit

SHOWN = 50
RECENT = 2000
"""The newest lines, whose names are offered as filters."""
MAX_VALUE = 300

# Keyset pagination by the id, which counts up with the time.
LINES = """
select id, at, operator, action, filter, jobs
from public.operator_log
where (%(before)s::bigint is null or id < %(before)s)
    and (%(operator)s = '' or operator = %(operator)s)
    and (%(action)s = '' or action = %(action)s)
    and at >= coalesce(%(since)s::timestamptz, '-infinity') and at < coalesce(%(until)s::timestamptz, 'infinity')
    and isfinite(at)
order by id desc
limit %(limit)s
"""
NAMES = """
with recent as (select operator, action from public.operator_log order by id desc limit %(recent)s)
select
    array(select distinct operator from recent order by operator limit 100) as operators,
    array(select distinct action from recent order by action limit 100) as actions
"""


async def log(visit: Visit) -> Response:
    asked = {name: visit.asked(name) for name in ("operator", "action", "since", "until")}
    values = {
        "operator": asked["operator"],
        "action": asked["action"],
        "since": moment("since", asked["since"]),
        "until": moment("until", asked["until"]),
        "before": whole("before", visit.asked("before")),
        "limit": SHOWN + 1,
    }
    async with visit.reading() as reader:
        lines = await reader.rows(LINES, values)
        names = await reader.row(NAMES, {"recent": RECENT})
    return visit.show(
        "log.html",
        {
            "lines": [{**line, "told": told(line["filter"])} for line in lines[:SHOWN]],
            "next": lines[SHOWN - 1]["id"] if len(lines) > SHOWN else None,
            "is_first": values["before"] is None,
            "asked": asked,
            "names": names,
        },
    )


def told(arguments: object) -> Sequence[tuple[str, str, str]]:
    """(name, value, path below /operate or "") of each argument of a call; texts are truncated."""
    if not isinstance(arguments, Mapping):
        return [("", str(arguments)[:MAX_VALUE], "")]
    return [
        (name.replace("_", " "), _words(value), _path(name, value))
        for name, value in arguments.items()
    ]


def _words(value: Any) -> str:
    text = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _path(name: str, value: object) -> str:
    folder = {"id": "jobs", "generation_id": "generations"}.get(name)
    return f"/{folder}/{value}" if folder else ""
