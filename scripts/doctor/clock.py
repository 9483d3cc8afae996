"""Checks of the schedule: what pg_cron and pg_net have recorded, when the last call came, where it goes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from functions._shared.errors import FunctionError
from functions.gateway.loopback import is_loopback
from functions.process_jobs import queue
from functions.process_jobs.diagnostic import tick
from scripts.doctor.database import AGAIN
from scripts.doctor.deployment import Deployment, reason
from scripts.doctor.findings import Finding, not_asked, ok, warning, wrong

SCHEDULE = "select public.schedule_process_jobs('<address of the gateway>', '<service role key>');"
# The login acts as service_role, which bypasses the row level security of these tables.
GRANT = (
    "grant usage on schema cron, net to {login};\n"
    "grant select on cron.job, cron.job_run_details, net._http_response to {login};"
)
REMEDIES: Mapping[str, str] = {
    "connection failed": "alter system set cron.use_background_workers = on;   -- and restart PostgreSQL",
    "is not active": SCHEDULE,
    "answered HTTP": SCHEDULE,
    "had no response": SCHEDULE,
    "may not read": GRANT,
    "sees no cron job": SCHEDULE,
}  # fmt: skip
"""A part of a record of clock_records → the line to type. A command's own error has none of these: see it whole."""
FAILED = "select * from cron.job_run_details order by start_time desc limit 5;"
COMMAND = """
select command from cron.job where active and command like '%process-jobs%'
order by jobname = 'process-jobs-worker' desc limit 1
"""
# By the catalogue: to_regclass raises where the schema is closed to the login.
VISIBLE = """
select to_regnamespace('cron') is null as absent, exists (
    select from pg_catalog.pg_class as c inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'cron' and c.relname = 'job'
        and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
) as visible
"""
ADDRESS = re.compile(r"https?://[^'\"\s]+/process-jobs\b")


async def records(deployment: Deployment) -> Finding:
    found = await queue.clock_records(deployment.resources.pool)
    if not found:
        return ok("no failure in the records of pg_cron and pg_net")
    told = "; ".join(found)
    if told == "pg_cron or pg_net is absent":
        return not_asked(told)
    do = next((do for part, do in REMEDIES.items() if part in told), FAILED)
    do = do.format(login=(await deployment.server).login)
    # No evidence of a failure: the login's rights may end here, and tick says whether the calls come.
    if all("may not read" in one or "sees no cron job" in one for one in found):
        return warning(told, do)
    return wrong(told, do)


async def arrival(deployment: Deployment) -> Finding:
    try:
        return ok(await tick(deployment.resources))
    except FunctionError as silent:
        told = str(silent)
    if "not called yet" not in told:
        return wrong(told, SCHEDULE)
    return warning(told, AGAIN if await _is_scheduled(deployment) else SCHEDULE)


async def _is_scheduled(deployment: Deployment) -> bool:
    async with deployment.resources.pool.connection() as connection:
        cursor = await connection.execute("select from public.cron_ticks")
        return await cursor.fetchone() is not None


@dataclass(frozen=True)
class Call:
    """The scheduled call: ``headers`` as pg_net sends them, None where the command has its own."""

    url: str
    headers: dict[str, str] | None


async def call(deployment: Deployment) -> Finding:
    """Make the scheduled call, from this machine: it claims nothing that the worker would not, and records no tick."""
    found = await _scheduled(deployment)
    if isinstance(found, Finding):
        return found
    host = httpx.URL(found.url).host
    if is_loopback(host) and not (await deployment.server).is_here:
        return wrong(f"{found.url} means the database's own machine, where no gateway is", SCHEDULE)
    try:
        answer = await deployment.resources.http.post(
            found.url, headers=found.headers or {}, json={"wait": False}
        )
    except httpx.HTTPError as error:
        return wrong(f"{found.url}: {reason(error)}", SCHEDULE)
    if found.headers is None and answer.status_code in {401, 403}:
        return not_asked(f"{found.url} is there; its key is in the command, and was not tried")
    if answer.status_code in {401, 403}:
        return wrong(f"{found.url} refuses the stored key: HTTP {answer.status_code}", SCHEDULE)
    if answer.status_code != 200 or not _is_ours(answer):
        return wrong(
            f"{found.url} is not process-jobs: it answers HTTP {answer.status_code}", SCHEDULE
        )
    return ok(f"{found.url} answers, and accepts the stored key")


async def _scheduled(deployment: Deployment) -> Call | Finding:
    async with deployment.resources.pool.connection() as connection:
        [state] = await (await connection.execute(VISIBLE)).fetchall()
        if state["absent"]:
            return not_asked("pg_cron is absent")
        if not state["visible"]:
            login = (await deployment.server).login
            return warning(f"{login} may not read cron.job", GRANT.format(login=login))
        rows = await (await connection.execute(COMMAND)).fetchall()
        address = ADDRESS.search(rows[0]["command"]) if rows else None
        if address is None:
            return warning("this login sees no active job that calls process-jobs", SCHEDULE)
        if "process_jobs_headers" not in rows[0]["command"]:
            return Call(address[0], None)
        cursor = await connection.execute("select picture_edge.process_jobs_headers() as headers")
        [row] = await cursor.fetchall()
        return Call(address[0], row["headers"])


def _is_ours(answer: httpx.Response) -> bool:
    try:
        told: Any = answer.json()
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("success") is True and "processed" in told
