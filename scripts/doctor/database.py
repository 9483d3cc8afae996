"""Checks of the database's server: does it answer, is it fit, has it this version of sql/."""

import asyncio
from typing import Any

from functions._local.clock.install import EXTENSIONS, STATE
from functions._shared.database.schema import NEWER, READ_ONLY, schema_mismatch
from functions._shared.database.version import SCHEMA_VERSION
from functions.process_jobs.diagnostic import claim
from scripts.doctor.deployment import CONNECT_S, Deployment, reason, server_of
from scripts.doctor.findings import Finding, not_asked, ok, warning, wrong

OLDEST = 150000
APPLY = 'DB="$SUPABASE_DB_URL" make schema'
START = "sudo systemctl start postgresql   # or mend SUPABASE_DB_URL"
UPDATE = "git pull && make .venv/run && sudo systemctl restart picture-edge"
ADDRESS = "SUPABASE_DB_URL=postgresql://<login>:<password>@<host>:5432/<database>"
MORE = (
    "alter system set max_connections = 200;   -- and restart PostgreSQL; or a smaller DB_POOL_SIZE"
)
AGAIN = "make doctor   # again, in a minute"
REFUSALS = {
    "password authentication failed": ADDRESS,
    "does not exist": ADDRESS,
    "Tenant or user not found": ADDRESS,
    "failed to resolve host": ADDRESS,
    "invalid response to SSL negotiation": ADDRESS,
    "server does not support SSL": "SUPABASE_DB_URL=<as before, without sslmode=require>",
    "certificate verify failed": f"{ADDRESS}?sslrootcert=<the authority's file>",
    "too many connections for": "alter role <login> connection limit -1;   -- or the database's limit",
    "is starting up": AGAIN,
    "no pg_hba.conf entry": "host all all <this machine>/32 scram-sha-256   # in pg_hba.conf, then reload",
    "too many clients": MORE,
    "remaining connection slots": MORE,
}
"""A part of the server's refusal → the line to type."""
LEADS = "select not pg_try_advisory_xact_lock_shared(hashtext('picture-edge clock')) as leads"
"""Whether a clock process holds its lead; the lock taken here ends with the statement."""


async def answers(deployment: Deployment) -> Finding:
    try:
        # Shielded: what ends this wait must not end the task that all others wait for.
        server = await asyncio.shield(deployment.server)
    except TimeoutError:
        return wrong(f"does not answer within {CONNECT_S:g} s", START)
    except Exception as error:  # noqa: BLE001 - whatever libpq says is what this check is for
        told = reason(error)
        return wrong(told, next((do for part, do in REFUSALS.items() if part in told), START))
    return ok(f"answers, as {server.login}")


async def version(deployment: Deployment) -> Finding:
    found = (await deployment.server).version
    name = f"PostgreSQL {found // 10000}.{found % 10000}"
    if found < OLDEST:
        return wrong(f"{name}: 15 or newer is needed", "pg_upgrade   # or another server")
    return ok(name)


async def encoding(deployment: Deployment) -> Finding:
    unfit = (await deployment.server).unfit
    if unfit:
        return wrong(unfit, "create database <name> encoding 'UTF8' template template0;")
    return ok("UTF8")


async def writes(deployment: Deployment) -> Finding:
    if (await deployment.server).read_only:
        return wrong(
            READ_ONLY,
            "SUPABASE_DB_URL=postgresql://<login>@<first>,<second>/<database>?target_session_attrs=read-write",
        )
    return ok("takes writes")


async def direct(deployment: Deployment) -> Finding:
    """LISTEN needs a session of its own, which no transaction pooler gives."""
    settings = deployment.settings
    do = "SUPABASE_DB_DIRECT_URL=postgresql://<login>:<password>@<host>:5432/<database>"
    if settings.supabase_db_direct_url is None:
        if (await deployment.server).pooled:
            return warning("a transaction pooler is in between: new jobs are polled for", do)
        return ok("no pooler in between")
    try:
        server = await server_of(settings.supabase_db_direct_url.get_secret_value())
    except Exception as error:  # noqa: BLE001 - as in ``answers``
        return warning(f"SUPABASE_DB_DIRECT_URL: {reason(error)}", do)
    if server.pooled:
        return warning("SUPABASE_DB_DIRECT_URL is a transaction pooler's", do)
    return ok("SUPABASE_DB_DIRECT_URL answers, no pooler in between")


async def schema(deployment: Deployment) -> Finding:
    if (await deployment.server).unfit:
        return not_asked("the encoding comes first")
    mismatch = await schema_mismatch(deployment.resources.pool)
    if mismatch == NEWER:
        return warning(mismatch, UPDATE)
    if mismatch:
        return wrong(mismatch, APPLY)
    return ok(f"version {SCHEMA_VERSION}")


async def extensions(deployment: Deployment) -> Finding:
    """pg_cron and pg_net, or the stand-ins with a clock that serves them."""
    pool = deployment.resources.pool
    states: dict[str, Any] = {}
    async with pool.connection() as connection:
        for name, extension in EXTENSIONS.items():
            cursor = await connection.execute(STATE, {"extension": extension, "schema": name})
            states[extension] = await cursor.fetchone()
        lead = await (await connection.execute(LEADS)).fetchone()
    absent = [extension for extension, state in states.items() if not state["present"]]
    standing_in = [extension for extension, state in states.items() if state["ours"]]
    serve = "sudo systemctl enable --now picture-edge-clock"
    if absent:
        return warning(f"{' and '.join(absent)} absent, and no clock has been here", serve)
    if not standing_in:
        return ok(" and ".join(states))
    names = " and ".join(standing_in)
    if not (lead and lead["leads"]):
        return wrong(f"a stand-in for {names}, and no clock serves it", serve)
    return ok(f"a clock stands in for {names}")


async def queue(deployment: Deployment) -> Finding:
    """A claim, rolled back: as the worker makes it."""
    told = await claim(deployment.resources)
    if "held by pause_queue" in told:
        return warning(told, "select public.resume_queue();")
    if "no handler" in told:
        return warning(told, UPDATE)
    return ok(told)
