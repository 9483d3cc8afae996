"""Checks of the logins: may each do what the gateway does with it, row level security included."""

from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row

from scripts.doctor.database import ADDRESS, APPLY
from scripts.doctor.deployment import CONNECT_S, Deployment, reason
from scripts.doctor.findings import Finding, not_asked, ok, wrong

SHOWN = 3
"""Names of a list that are shown."""

# What service_role may do is what the gateway needs: sql/ grants it that, and nothing beyond.
LACKING = """
with ours as (
    select relowner as owner from pg_catalog.pg_class where oid = pg_catalog.to_regclass('public.job_queue')
),
relation as (
    select c.oid, c.oid::regclass::text as name
    from pg_catalog.pg_class as c inner join ours on c.relowner = ours.owner
    where c.relkind in ('r', 'v') and c.relnamespace in (
        pg_catalog.to_regnamespace('public'), pg_catalog.to_regnamespace('picture_edge')
    )
)
select format('%s on %s', wanted, name) as right
from relation cross join unnest('{select,insert,update,delete}'::text[]) as wanted
where has_table_privilege('service_role', oid, wanted) and not has_table_privilege(oid, wanted)
union all
select format('execute %s', p.oid::regprocedure)
from pg_catalog.pg_proc as p inner join ours on p.proowner = ours.owner
where p.pronamespace in (pg_catalog.to_regnamespace('public'), pg_catalog.to_regnamespace('picture_edge'))
    and has_function_privilege('service_role', p.oid, 'execute')
    and not has_function_privilege(p.oid, 'execute')
union all
select format('usage of schema %s', nspname) from pg_catalog.pg_namespace
where nspname in ('public', 'picture_edge') and not has_schema_privilege(oid, 'usage')
order by 1 desc
"""
HIDDEN = """
select coalesce(row_security_active(pg_catalog.to_regclass('public.job_queue')), true) as hidden
"""
CLOSED = """
select c.oid::regclass::text as name, pg_get_userbyid(c.relowner) as owner
from pg_catalog.pg_class as c
where c.relkind = 'r' and c.relnamespace = pg_catalog.to_regnamespace(%s) and (
    row_security_active(c.oid) or not (
        has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
        and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')
    )
)
order by 1
"""
BECOMES = """
select rolname as name from pg_catalog.pg_roles
where rolname in ('anon', 'authenticated', 'service_role') and not pg_has_role(oid, 'member')
order by 1
"""


async def _rows(deployment: Deployment, query: str, *values: str) -> list[dict[str, Any]]:
    async with deployment.resources.pool.connection() as connection:
        return await (await connection.execute(query.encode(), values or None)).fetchall()


async def login(deployment: Deployment) -> Finding:
    """The queue's functions and tables."""
    name = (await deployment.server).login
    [found] = await _rows(deployment, "select to_regclass('public.job_queue') is null as absent")
    if found["absent"]:
        return not_asked("sql/ is not applied")
    do = (
        f"grant service_role to {name};\n"
        "SUPABASE_DB_URL=<as before>?options=-c%20role%3Dservice_role"
    )
    if lacking := [row["right"] for row in await _rows(deployment, LACKING)]:
        return wrong(f"{name} lacks {some(lacking)}", do)
    [found] = await _rows(deployment, HIDDEN)
    if found["hidden"]:
        return wrong(f"row level security hides the queue from {name}", do)
    return ok(f"{name} may do what the gateway does")


async def auth_tables(deployment: Deployment) -> Finding:
    """/auth/v1 and /realtime/v1 work as the owner: sql/ grants their tables to nobody."""
    wanted = {"auth": "auth", "realtime": "realtime"}
    served = sorted(wanted.keys() & deployment.settings.serve)
    if not served:
        return ok("neither /auth/v1 nor /realtime/v1 is served here")
    name = (await deployment.server).login
    for schema in served:
        [found] = await _rows(deployment, "select to_regnamespace(%s) is null as absent", schema)
        if found["absent"]:
            return wrong(f"there is no schema {schema}", APPLY)
        if closed := await _rows(deployment, CLOSED, schema):
            tables = some([row["name"] for row in closed])
            return wrong(
                f"{name} may not use {tables}, which /{schema}/v1 works on",
                f"{ADDRESS}   # as {closed[0]['owner']}",
            )
    return ok(f"{name} may use the tables of {' and '.join(served)}")


async def rest_login(deployment: Deployment) -> Finding:
    """/rest/v1's login becomes the role of each request's token."""
    settings = deployment.settings
    if "rest" not in settings.serve:
        return ok("/rest/v1 is not served here")
    url = (settings.pgrst_db_uri or settings.supabase_db_url).get_secret_value()
    try:
        connection = await AsyncConnection[DictRow].connect(
            make_conninfo(url, connect_timeout=int(CONNECT_S)),
            row_factory=dict_row,
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        do = "PGRST_DB_URI=postgresql://<login>:<password>@<host>:5432/<database>"
        return wrong(f"PGRST_DB_URI: {reason(error)}", do)
    async with connection:
        rows = await (await connection.execute(BECOMES)).fetchall()
    name = str(conninfo_to_dict(url).get("user") or "the login")
    if rows:
        roles = ", ".join(row["name"] for row in rows)
        return wrong(f"{name} may not become {roles}", f"grant {roles} to {name};")
    return ok(f"{name} may become anon, authenticated, service_role")


def some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
