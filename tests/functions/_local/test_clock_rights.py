"""The stand-ins' security definer functions: who may call them gets none of their owner's rights by it."""

import asyncio

import psycopg
import pytest
from psycopg.rows import dict_row

from functions._local.clock.install import install

DEFINERS = """
select oid::regprocedure::text as it from pg_proc
where prosecdef and pronamespace in ('cron'::regnamespace, 'net'::regnamespace) and prorettype <> 'trigger'::regtype
"""
# Every one of them, called with types that are what they say; alter_job also runs the trigger that is a definer.
CALLS = {
    "cron.schedule(text,text)": "cron.schedule({yearly}, {command})",
    "cron.schedule(text,text,text)": "cron.schedule({name}, {yearly}, {command})",
    "cron.schedule_in_database(text,text,text,text,text,boolean)":
        "cron.schedule_in_database({name}, {yearly}, {command}, current_database()::pg_catalog.text)",
    "cron.alter_job(bigint,text,text,text,text,boolean)": "cron.alter_job({job}, {yearly}, active => false)",
    "cron.unschedule(bigint)": "cron.unschedule({job})",
    "cron.unschedule(text)": "cron.unschedule('theirs'::pg_catalog.text)",
    "net.wake()": "net.wake()",
    "net.http_get(text,jsonb,jsonb,integer)": "net.http_get({url}, {params}, {headers})",
    "net.http_post(text,jsonb,jsonb,jsonb,integer)": "net.http_post({url}, {params}, {params}, {headers})",
    "net.http_delete(text,jsonb,jsonb,integer,jsonb)": "net.http_delete({url}, {params}, {headers}, 5000, {params})",
    "net._await_response(bigint)": "net._await_response(7)",
    "net._http_collect_response(bigint,boolean)": "net._http_collect_response(7)",
    "net.http_collect_response(bigint,boolean)": "net.http_collect_response(7, false)",
    "net.worker_restart()": "net.worker_restart()",
}  # fmt: skip
ARGUMENTS = {
    "yearly": "'0 0 1 1 *'::pg_catalog.text",
    "command": "'select 1'::pg_catalog.text",
    "name": "'mine'::pg_catalog.text",
    "url": "'http://127.0.0.1:1/x'::pg_catalog.text",
    "params": """'{{"a": "b"}}'::pg_catalog.jsonb""",
    "headers": """'{{"Content-Type": "application/json"}}'::pg_catalog.jsonb""",
}
# For each name that a body may say: a type of the caller's own, whose check runs wherever a value gets it.
SHADOW = """
create function pg_temp.evil(v pg_catalog.{0}) returns pg_catalog.bool language plpgsql as $$ begin
    if current_user <> 'mallory' then execute 'alter role mallory superuser'; end if;
    return true;
end $$;
create domain pg_temp.{0} as pg_catalog.{0} check (pg_temp.evil(value));
"""
NAMES = ("text", "jsonb", "json", "bytea", "name", "bool", "int4", "int8", "varchar", "timestamptz")


@pytest.fixture
def stand_ins(dsn, db):
    asyncio.run(installed(dsn))
    return db


async def installed(dsn):
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, row_factory=dict_row
    ) as connection:
        assert await install(connection) == {"cron", "net"}


@pytest.fixture
def mallory(stand_ins):
    """A role that may schedule and call everything, with a job, an answer, and types of its own in the way."""
    db = stand_ins
    db.execute("drop role if exists mallory")
    db.execute("create role mallory login")
    try:
        db.execute("insert into net._http_response (id, status_code, content) values (7, 200, 'x')")
        db.execute("grant usage on schema cron, net to mallory")
        db.execute("grant execute on all functions in schema cron, net to mallory")
        db.execute("set session authorization mallory")
        job = db.execute("select cron.schedule('theirs', '@daily', 'select 2') as it").fetchone()
        for name in NAMES:
            db.execute(SHADOW.format(name))
        yield db, job["it"]
    finally:
        db.execute("reset session authorization")
        db.execute("discard temp")
        db.execute("drop owned by mallory")
        db.execute("drop role mallory")


def test_each_of_them_is_tried(stand_ins):
    assert {row["it"] for row in stand_ins.execute(DEFINERS)} == set(CALLS)


@pytest.mark.parametrize("function", CALLS)
def test_no_type_of_the_callers_runs_with_the_owners_rights(mallory, function):
    """aiven/aiven-extras#65: pg_temp comes first for types unless search_path names it last."""
    db, job = mallory
    db.execute(
        "select "
        + CALLS[function].format(job=job, **ARGUMENTS).replace("{{", "{").replace("}}", "}")
    )
    who = "select rolsuper from pg_catalog.pg_roles where rolname = 'mallory'"
    assert db.execute(who).fetchone() == {"rolsuper": False}


def test_what_an_earlier_version_installed_is_renewed(stand_ins, dsn):
    paths = "select distinct proconfig from pg_proc where pronamespace in ('cron'::regnamespace, 'net'::regnamespace)"
    for row in stand_ins.execute(DEFINERS).fetchall():
        stand_ins.execute(f"alter function {row['it']} set search_path = ''")
    assert len(stand_ins.execute(paths).fetchall()) == 2
    asyncio.run(installed(dsn))
    assert stand_ins.execute(paths).fetchall() == [
        {"proconfig": ["search_path=pg_catalog, pg_temp"]}
    ]
