"""Route process-jobs-test: a health check of each part that the worker needs, asked as the worker asks it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.database.schema import schema_mismatch
from functions._shared.database.version import SCHEMA_VERSION
from functions._shared.errors import FunctionError
from functions._shared.resources import Resources, resources_of
from functions._shared.web.function_app import function_app
from functions.process_jobs import queue
from functions.process_jobs.jobs import job_types

CHECK_TIMEOUT_S = 5.0
"""How long one part may take to answer."""
NEEDED = ("supabase_url", "supabase_db_url", "supabase_service_role_key", "replicate_api_token")

Check = Callable[[Resources], Awaitable[str]]
"""Returns what was found, in words; raises an error that says what is wrong."""


async def _settings(resources: Resources) -> str:
    absent = [name.upper() for name in NEEDED if getattr(resources.settings, name) is None]
    if absent:
        raise FunctionError(f"not set: {', '.join(absent)}")
    return f"set: {', '.join(name.upper() for name in NEEDED)}"


async def _database(resources: Resources) -> str:
    async with resources.pool.connection() as connection:
        version = connection.info.server_version
        await connection.execute("select 1")
    return f"PostgreSQL {version // 10000}.{version % 10000}"


async def _schema(resources: Resources) -> str:
    if mismatch := await schema_mismatch(resources.pool):
        raise FunctionError(mismatch)
    return f"version {SCHEMA_VERSION}"


async def claim(resources: Resources) -> str:
    """A dry run: the transaction is rolled back, no job is taken."""
    pool = resources.pool
    waiting = await queue.try_claim(pool, job_types())
    held = await queue.paused_due(pool) + await queue.unhandled_due(pool, job_types())
    found = "a job would be claimed" if waiting else "works" if held else "works; no job is due"
    return "; ".join([found, *held])


async def _provider(resources: Resources) -> str:
    return f"account {await resources.replicate.account()}"


async def _storage(resources: Resources) -> str:
    return await resources.storage.check()


async def tick(resources: Resources) -> str:
    """When the clock last called process-jobs; FunctionError where that is too long ago, or has not been yet."""
    silence, age_s = await queue.tick_overdue(resources.pool), await queue.tick_age(resources.pool)
    if silence:
        raise FunctionError(f"has not called process-jobs for {silence.total_seconds():.0f} s")
    if age_s is None:
        raise FunctionError(
            "has not called yet: it does so within a minute of schedule_process_jobs()"
        )
    return f"called {age_s} s ago"


async def _cron(resources: Resources) -> str:
    """Well only with evidence: a call in time, and no failure in cron's and net's own records."""
    records = await queue.clock_records(resources.pool)
    try:
        found, called = await tick(resources), True
    except FunctionError as silent:
        found, called = str(silent), False
    told = "; ".join([found, *records])
    if records or not called:
        raise FunctionError(told)
    return told


CHECKS: dict[str, Check] = {
    "settings": _settings,
    "database": _database,
    "schema": _schema,
    "claim": claim,
    "provider": _provider,
    "storage": _storage,
    "cron": _cron,
}


async def handle(request: Request) -> JSONResponse:
    """200 with the result of each check; ``success`` where every part is well."""
    resources = resources_of(request)
    await resources.auth.service(request, "process-jobs-test")
    found = await asyncio.gather(*(_ask(check, resources) for check in CHECKS.values()))
    checks = dict(zip(CHECKS, found, strict=True))
    return JSONResponse({"success": all(one["ok"] for one in found), "checks": checks})


async def _ask(check: Check, resources: Resources) -> dict[str, Any]:
    began = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            ok, detail = True, await check(resources)
    except FunctionError as error:
        ok, detail = False, str(error)
    except psycopg.Error as error:
        ok, detail = False, f"database: {type(error).__name__}"
    except (httpx.HTTPError, TimeoutError, ValueError) as error:  # their texts may hold secrets
        ok, detail = False, type(error).__name__
    return {"ok": ok, "detail": detail, "ms": round((time.monotonic() - began) * 1000)}


app = function_app(
    [Route("/process-jobs-test", handle, methods=["GET", "POST"])],
)
