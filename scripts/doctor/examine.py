"""The checks in the order of the report, and how they are asked: side by side, each within CHECK_S."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import psycopg

from functions._shared.database.sqlstates import Scope, scope_of
from functions._shared.errors import FunctionError
from functions._shared.settings import Settings
from scripts.doctor import clock, database, gateway, machine, provider, rights, storage
from scripts.doctor.deployment import Deployment, opened, reason
from scripts.doctor.findings import Finding, State, not_asked, ok, wrong

BLOCKED = (
    "select pid, pg_blocking_pids(pid), query from pg_stat_activity where wait_event_type = 'Lock';"
)
CHECK_S = 5.0
"""A part that has not answered by then counts as wrong; the wait for the database before it is not counted."""


@dataclass(frozen=True)
class Check:
    """``needs_database``: not asked where the database does not answer, which is said once and not by each of them.

    ``address``: what it asks beside the database.
    """

    name: str
    ask: Callable[[Deployment], Awaitable[Finding]]
    needs_database: bool = False
    address: Callable[[Settings], object] | None = None


CHECKS = (
    Check("keys", gateway.keys),
    Check("database", database.answers),
    Check("version", database.version, needs_database=True),
    Check("encoding", database.encoding, needs_database=True),
    Check("writes", database.writes, needs_database=True),
    Check("direct connection", database.direct, needs_database=True),
    Check("sql/", database.schema, needs_database=True),
    Check("rights", rights.login, needs_database=True),
    Check("tables of services", rights.auth_tables, needs_database=True),
    Check("login of rest", rights.rest_login, needs_database=True),
    Check("queue", database.queue, needs_database=True),
    Check("extensions", database.extensions, needs_database=True),
    Check("records of cron", clock.records, needs_database=True),
    Check("tick", clock.arrival, needs_database=True),
    Check("scheduled call", clock.call, needs_database=True),
    Check("gateway", gateway.ready, address=gateway.place),
    Check("bucket", storage.bucket, address=storage.address),
    Check("a tiny picture", storage.a_picture, address=storage.address),
    Check("provider", provider.account, address=provider.address),
    Check("provider's calls", provider.calls_back, address=provider.address),
    Check("clock and database", machine.against_database, needs_database=True),
    Check("clock and provider", machine.against_provider, address=provider.address),
    Check("disk", machine.data_folder),
    Check("database's disk", machine.database_disk, needs_database=True),
)


@dataclass(frozen=True)
class Result:
    name: str
    finding: Finding
    ms: int


async def examine(settings: Settings) -> list[Result]:
    """Ask all of CHECKS; a result for each, in their order."""
    valid = Result("settings", ok("valid"), 0)
    async with opened(settings) as deployment:
        return [valid, *await asyncio.gather(*(ask(check, deployment) for check in CHECKS))]


async def ask(check: Check, deployment: Deployment) -> Result:
    """One check; whatever it raises is a finding, so that none keeps the others from their answer."""
    if check.needs_database:
        await asyncio.wait([deployment.server])
        if deployment.server.exception():
            return Result(check.name, not_asked("the database does not answer"), 0)
    began = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_S):
            finding = await check.ask(deployment)
    except TimeoutError:
        finding = wrong(f"no answer within {CHECK_S:g} s", _look(check, deployment.settings))
    except psycopg.errors.LockNotAvailable as error:
        finding = wrong(reason(error), BLOCKED)
    except (FunctionError, psycopg.Error, httpx.HTTPError, OSError, ValueError) as error:
        finding = _of(error)
    return Result(check.name, finding, round((time.monotonic() - began) * 1000))


def _look(check: Check, settings: Settings) -> str:
    """Where a check hangs: at a lock, or at the address that it asks."""
    if check.needs_database or not check.address:
        return BLOCKED
    return f"curl -sS -m 9 -o /dev/null -w '%{{http_code}}\\n' {check.address(settings)}"


def _of(error: Exception) -> Finding:
    """What no check has foreseen. Absent objects are the check named sql/: it says so, with the line to type."""
    if scope_of(error) is Scope.SCHEMA and not isinstance(
        error, psycopg.errors.InsufficientPrivilege
    ):
        return not_asked(f"sql/ is not applied, or not whole: {reason(error)}", database.APPLY)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return not_asked(reason(error))
    return wrong(reason(error), "journalctl -u picture-edge -n 50")


def is_wrong(results: list[Result]) -> bool:
    return any(result.finding.state is State.WRONG for result in results)
