"""The stand-in for pg_cron: functions/_local/clock/cron.sql, scheduler.py, schedule.py."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from functions._local.clock.clock import BehindPooler, run_clock
from functions._local.clock.install import install
from functions._local.clock.scheduler import Scheduler
from functions._local.defaults import local_environment
from functions._shared.cron import read_schedule, time_zone
from scripts.stack import ticking
from tests.help import PROJECT, eventually, renumbering, until

pytestmark = pytest.mark.slow

YEARLY = "0 0 1 1 *"
"""Not due a second time while a test runs, as each minute is."""
ENDED = "select * from cron.job_run_details where status in ('succeeded', 'failed') order by runid"


def schedule(db, command, when="* * * * *", name=None):
    arguments = (name, when, command) if name else (when, command)
    marks = ", ".join(["%s"] * len(arguments))
    return db.execute(f"select cron.schedule({marks}) as id", arguments).fetchone()["id"]


def long_ago(db, job_id):
    """As if the clock had known the job for two years: it is due now."""
    db.execute("insert into cron.clock_state values (%s, now()) on conflict do nothing", (job_id,))
    db.execute(
        "update cron.clock_state set fired_at = now() - interval '2 years' where jobid = %s",
        (job_id,),
    )
    db.execute("notify cron")


def ended_runs(db, job_id):
    return [run for run in db.execute(ENDED) if run["jobid"] == job_id]


def ended_run(db, job_id):
    return eventually(lambda: ended_runs(db, job_id))[0]


RUNS = [
    # command, status, return_message; tests/sql/test_schedule.py has the real pg_cron say the same
    ("select 1", "succeeded", "1 row"),
    ("select 1 where false", "succeeded", "0 rows"),
    ("values (1), (2), (3)", "succeeded", "3 rows"),
    ("create table t (a int)", "succeeded", "CREATE TABLE"),
    ("insert into paused_queues (job_type) values ('a'), ('b')", "succeeded", "INSERT 0 2"),
    ("vacuum job_queue", "succeeded", "VACUUM"),
    ("do $$ begin end $$", "succeeded", "DO"),
    ("", "succeeded", "0 rows"),
    ("-- nothing", "succeeded", "0 rows"),
    ("select 1; update job_queue set priority = 0 where false", "succeeded", "UPDATE 0"),
    ("begin; select 1; commit", "succeeded", "COMMIT"),
    ("select 'a%'", "succeeded", "1 row"),
    ("select 1/0", "failed", "ERROR:  division by zero\n"),
    ("selec 1", "failed", 'ERROR:  syntax error at or near "selec"\nLINE 1: selec 1\n        ^\n'),
    ("do $$ begin raise exception 'x' using detail = 'd', hint = 'h'; end $$", "failed",
     "ERROR:  x\nDETAIL:  d\nHINT:  h\nCONTEXT:  PL/pgSQL function inline_code_block line 1 at RAISE\n"),
    ("set statement_timeout = 1; select pg_sleep(9)", "failed",
     "ERROR:  canceling statement due to statement timeout\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status", "message"),
    # The real one says so too, and then hangs.
    [*RUNS, ("copy (select 1) to stdout", "failed", "COPY not supported")],
)
def test_a_run_is_recorded_as_pg_cron_does(clock, db, command, status, message):
    job_id = schedule(db, command)
    long_ago(db, job_id)
    run = ended_run(db, job_id)
    assert (run["status"], run["return_message"], run["command"]) == (status, message, command)
    assert run["job_pid"]
    assert run["start_time"] <= run["end_time"]
    assert (run["username"], run["database"]) == ("postgres", db.info.dbname)


AS_CLERK = """
reset session authorization; reset role; do $$ begin
    if session_user <> 'clerk' or current_user <> 'clerk' then raise exception '% is not clerk', session_user; end if;
end $$"""


@pytest.fixture
def clerk(clock, db):
    """A plain role's database connection; the role may schedule."""
    db.execute("drop role if exists clerk")
    db.execute("create role clerk login")
    db.execute("grant usage on schema cron to clerk")
    db.execute("set role clerk")
    yield db
    db.execute("reset role")
    db.execute("drop owned by clerk")
    db.execute("drop role clerk")


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (AS_CLERK, "succeeded", "DO"),
        ("set session authorization postgres", "failed", "ERROR:  permission denied to set session authorization"),
        ("set role postgres", "failed", "ERROR:  permission denied to set role"),
    ],
)  # fmt: skip
def test_a_plain_roles_job_runs_as_that_role(clerk, command, status, message):
    job_id = schedule(clerk, command)
    clerk.execute("reset role")
    long_ago(clerk, job_id)
    run = ended_run(clerk, job_id)
    assert run["username"] == "clerk"
    assert (run["status"], run["return_message"][: len(message)]) == (status, message)


@pytest.mark.parametrize("reason", ["a folder that others may write to", "another server"])
def test_a_plain_roles_job_fails_where_the_socket_is_not_surely_the_servers(
    clerk, monkeypatch, reason
):
    if reason == "another server":
        monkeypatch.setattr("functions._local.clock.login.STARTED", "select pg_catalog.now()")
    else:
        monkeypatch.setattr("functions._local.clock.login.stat.S_IWOTH", 0o700)
    job_id = schedule(clerk, "select 1")
    clerk.execute("reset role")
    long_ago(clerk, job_id)
    assert ended_run(clerk, job_id)["return_message"] == "connection failed"


def test_no_job_runs_as_a_role_that_the_clocks_login_is_no_member_of(dsn, db):
    """Confused deputy: the owner of cron.job may write any name into it, and the socket trusts everybody."""
    name = db.info.dbname
    db.execute("drop role if exists keeper, clerk")
    db.execute("create role keeper login password 'keeper'")
    db.execute("create role clerk login")
    db.execute("grant clerk to keeper")
    db.execute(f"grant create on database {name} to keeper")
    try:
        with ticking(make_conninfo(dsn, user="keeper", password="keeper")):
            db.execute("grant pg_read_all_settings to keeper")
            ids = [schedule(db, "select 1") for _ in range(2)]
            for job_id, user in zip(ids, ("supabase_admin", "clerk"), strict=True):
                db.execute("update cron.job set username = %s where jobid = %s", (user, job_id))
                long_ago(db, job_id)
            found = [ended_run(db, job_id)["return_message"] for job_id in ids]
            assert found == ["connection failed", "1 row"]
    finally:
        db.execute("drop owned by keeper cascade")
        db.execute("drop role keeper, clerk")


def runs_of(db, job_id):
    counted = "select count(*)::int as n from cron.job_run_details where jobid = %s"
    return db.execute(counted, (job_id,)).fetchone()["n"]


async def test_a_reboot_job_runs_at_a_start_of_the_clock_only(dsn, connect, monkeypatch):
    """Not when it is scheduled, and not when a lost connection is made again."""
    monkeypatch.setattr("functions._local.clock.clock.RETRY_S", 0.05)
    db = connect()
    jobs, ready = [], asyncio.Event()

    def is_ready():
        if not jobs:  # before the clock's first look at the jobs
            jobs.append(schedule(db, "select 1", "@reboot"))
        ready.set()

    async def one_more_run():
        other = schedule(db, "select 2", "1 second")
        await asyncio.to_thread(ended_run, db, other)
        db.execute("select cron.unschedule(%s::bigint)", (other,))

    for expected in (0, 1):
        ready.clear()
        clock = asyncio.create_task(run_clock(dsn, is_ready))
        await ready.wait()
        await one_more_run()
        assert runs_of(db, jobs[0]) == expected
        ready.clear()
        db.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where application_name like 'pg_net %' and datname = current_database()"
        )
        await ready.wait()
        await one_more_run()
        assert runs_of(db, jobs[0]) == expected
        clock.cancel()
        await asyncio.gather(clock, return_exceptions=True)


def test_years_without_a_clock_are_caught_up_once(clock, db):
    job_id = schedule(db, "select 1", YEARLY)
    long_ago(db, job_id)
    ended_run(db, job_id)
    other = schedule(db, "select 2", "1 seconds")
    ended_run(db, other)  # the clock has looked again
    assert db.execute(
        "select count(*) as n from cron.job_run_details where jobid = %s", (job_id,)
    ).fetchone() == {"n": 1}


def test_a_new_schedule_begins_now(clock, db):
    job_id = schedule(db, "select 1", "0 0 1 1 *", "yearly")
    long_ago(db, job_id)
    db.execute("update cron.clock_state set fired_at = now() - interval '2 years'")
    db.execute("select cron.schedule('yearly', '* * * * *', 'select 1')")
    ended_run(db, schedule(db, "select 2", "1 seconds"))
    assert db.execute(
        "select fired_at > now() - interval '1 minute' as young from cron.clock_state where jobid = %s",
        (job_id,),
    ).fetchone() == {"young": True}


def test_runs_of_a_job_never_overlap(clock, db):
    job_id = schedule(db, "select pg_sleep(1.3)", "1 seconds")
    until(db, "select count(*) >= 2 from cron.job_run_details where end_time is not null", True)
    runs = ended_runs(db, job_id)
    assert runs[0]["end_time"] <= runs[1]["start_time"]


def test_unscheduling_ends_the_run(clock, db):
    job_id = schedule(db, "select pg_sleep(600)")
    long_ago(db, job_id)
    until(db, "select status from cron.job_run_details", "running")
    db.execute("select cron.unschedule(%s::bigint)", (job_id,))
    assert ended_run(db, job_id)["return_message"] == "job canceled"


def test_a_clock_that_stops_in_a_run_leaves_it_to_the_next(dsn, db):
    with ticking(dsn):
        job_id = schedule(db, "select pg_sleep(600)")
        long_ago(db, job_id)
        until(db, "select status from cron.job_run_details", "running")
    [left] = db.execute("select status, end_time from cron.job_run_details").fetchall()
    assert left == {"status": "running", "end_time": None}
    with ticking(dsn):
        run = ended_run(db, job_id)
    assert (run["status"], run["return_message"], run["end_time"]) == (
        "failed", "server restarted", None,
    )  # fmt: skip


async def test_two_clocks_fire_once_and_the_second_takes_over(dsn, connect):
    """The lead is a lock of the leader's connection, and a firing is claimed in the database besides."""
    leading = asyncio.Queue()
    clocks = [
        asyncio.create_task(run_clock(dsn, lambda n=n: leading.put_nowait(n))) for n in range(2)
    ]
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, row_factory=dict_row
    ) as db:
        first = await leading.get()
        await db.execute("insert into cron.job_run_details (jobid, status) values (99, 'running')")
        clocks[first].cancel()
        assert await leading.get() != first
        told = "select return_message from cron.job_run_details"
        await asyncio.to_thread(until, connect(), told, "server restarted")
    for task in clocks:
        task.cancel()
    await asyncio.gather(*clocks, return_exceptions=True)


async def test_a_clock_that_waits_for_another_says_so(clock, dsn, caplog):
    with caplog.at_level("INFO"):
        second = asyncio.create_task(run_clock(dsn))
        await asyncio.to_thread(eventually, lambda: "another clock leads" in caplog.text)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_pooler_is_refused(dsn):
    """PgBouncer kept the lead of a clock that was gone: the next one waited for ever."""
    pooler = renumbering(int(conninfo_to_dict(dsn)["port"]))
    with pooler as port, pytest.raises(BehindPooler, match="SUPABASE_DB_DIRECT_URL"):
        await run_clock(make_conninfo(dsn, port=port))


def test_the_command_takes_the_direct_address(dsn, db):
    """The deployment guide's environment file has both, and SUPABASE_DB_URL may be a pooler's."""
    with renumbering(int(conninfo_to_dict(dsn)["port"])) as port:
        pooler = make_conninfo(dsn, port=port)
        command = [sys.executable, "-m", "functions._local.clock"]
        values = {**os.environ, **local_environment({"SUPABASE_DB_URL": pooler})}
        refused = subprocess.run(command, cwd=PROJECT, env=values, capture_output=True, text=True)
        assert (refused.returncode, "needs a direct connection" in refused.stderr) == (1, True)
        values["SUPABASE_DB_DIRECT_URL"] = dsn
        with subprocess.Popen(command, cwd=PROJECT, env=values) as running:
            until(db, "select to_regclass('cron.job') is not null", True)
            running.terminate()


def test_a_clock_that_was_set_back_stops_no_job(dsn, db):
    """After a correction by eight hours no job ran for eight hours."""
    with ticking(dsn):
        jobs = [schedule(db, "select 1", when) for when in ("1 second", YEARLY)]
        until(db, "select count(*) from cron.clock_state", 2)
    db.execute("update cron.clock_state set fired_at = now() + interval '8 hours'")
    db.execute("delete from cron.job_run_details")
    with ticking(dsn):
        ended_run(db, jobs[0])
    state = "select fired_at <= now() as past from cron.clock_state where jobid = %s"
    assert db.execute(state, (jobs[1],)).fetchone() == {"past": True}


async def test_a_time_is_fired_once_whoever_serves(dsn, connect):
    connections = [
        await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row)
        for _ in range(4)
    ]
    db, *works = connections
    await install(db)
    for n in range(20):
        await db.execute("select cron.schedule(%s, %s, 'select 1')", (f"job {n}", YEARLY))
    await db.execute(
        "insert into cron.clock_state select jobid, now() - interval '2 years' from cron.job"
    )
    tasks = [asyncio.create_task(Scheduler(dsn, work, asyncio.Event()).run()) for work in works]
    ended = "select count(*) from cron.job_run_details where end_time is not null"
    await asyncio.to_thread(until, connect(), ended, 20)
    count = await (await db.execute("select count(*) as n from cron.job_run_details")).fetchone()
    assert count == {"n": 20}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in connections:
        await connection.close()


@pytest.fixture
def cron(db):
    """The schema alone, unserved."""

    async def go():
        async with await psycopg.AsyncConnection.connect(
            f"postgresql://postgres:postgres@127.0.0.1:{db.info.port}/{db.info.dbname}",
            autocommit=True,
            row_factory=dict_row,
        ) as connection:
            assert await install(connection) == {"cron", "net"}
            assert await install(connection) == {"cron", "net"}, "again, over itself"

    asyncio.run(go())
    return db


def test_the_same_name_is_the_same_job_and_stays_inactive(cron):
    first = schedule(cron, "select 1", name="x")
    cron.execute("select cron.alter_job(%s, active => false)", (first,))
    assert schedule(cron, "select 2", "5 4 * * *", "x") == first
    assert cron.execute("select schedule, command, active, username from cron.job").fetchall() == [
        {"schedule": "5 4 * * *", "command": "select 2", "active": False, "username": "postgres"}
    ]
    assert schedule(cron, "select 1") != schedule(cron, "select 1"), (
        "without a name always a new one"
    )


@pytest.mark.parametrize(
    ("call", "sqlstate", "text"),
    [
        ("cron.schedule('x', 'every day', 'select 1')", "22023", "invalid schedule: every day"),
        ("cron.schedule(null, '* * * * *', 'x')", "XX000", "job_name can not be NULL"),
        ("cron.schedule('x', null, 'x')", "XX000", "schedule can not be NULL"),
        ("cron.unschedule(999)", "XX000", "could not find valid entry for job 999"),
        ("cron.unschedule('nope')", "XX000", "could not find valid entry for job 'nope'"),
        ("cron.alter_job(1)", "XX000", "no updates specified"),
        ("cron.alter_job(999, active => true)", "XX000", "Job 999 does not exist or you don't own it"),
        ("cron.schedule_in_database('x', '* * * * *', 'x', 'nodb')", "3D000", 'database "nodb" does not exist'),
        ("cron.schedule_in_database('x', '* * * * *', 'x', 'postgres', 'nobody')", "XX000", 'role "nobody" does'),
        ("cron.schedule_in_database('x', '* * * * *', 'x', 'postgres', 'anon')", "XX000", 'role "anon" can not log in'),
    ],
)  # fmt: skip
def test_errors_are_pg_crons(cron, call, sqlstate, text):
    with pytest.raises(psycopg.Error) as refused:
        cron.execute(f"select {call}")
    assert refused.value.sqlstate == sqlstate
    assert text in str(refused.value)


def test_a_role_sees_and_removes_its_own_jobs_only(cron):
    cron.execute("drop role if exists clerk")
    cron.execute("create role clerk login")
    try:
        mine = schedule(cron, "select 1", name="mine")
        cron.execute("set role clerk")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            schedule(cron, "select 2", name="theirs")
        cron.execute("reset role")
        cron.execute("grant usage on schema cron to clerk")
        cron.execute("set role clerk")
        theirs = schedule(cron, "select 2", name="theirs")
        assert [job["jobid"] for job in cron.execute("select jobid from cron.job")] == [theirs]
        for call in (
            "cron.unschedule(%s::bigint)", "cron.alter_job(%s, active => false)",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                cron.execute(f"select {call}", (mine,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            cron.execute("insert into cron.job (schedule, command) values ('* * * * *', 'x')")
        assert cron.execute("select cron.unschedule('theirs') as done").fetchone() == {"done": True}
        cron.execute("reset role")
        assert [job["jobid"] for job in cron.execute("select jobid from cron.job")] == [mine]
    finally:
        cron.execute("reset role")
        cron.execute("drop owned by clerk")
        cron.execute("drop role clerk")


ACCEPTED = [
    "* * * * *", " 5\t4 * * * ", "*/5 * * * *", "1-10/2 * * * *", "0 0 1,15 * 5", "0 0 * jan-mar Mon-FRI", "@daily",
    "@hourly", "* * * * * *", "5-1 * * * *", "*-5 * * * *", "0 0 * * 7", "0,30 8-17 * * sun,SAT",
]  # fmt: skip
REFUSED = [
    "1/20 * * * *", "1, * * * *", "? * * * *", "0 0 L * *", "@every 5m", "0 0 0 * *", "0 0 * 0 *", "* * * * 8",
    "* * * *", "60 * * * *", "* 24 * * *", "", "x" * 1000, "-1 * * * *", "0 seconds",
]  # fmt: skip
SECONDS = ["1 second", "30 seconds", "59 SECONDS", "@reboot", "0 0 $ * *"]


@pytest.mark.parametrize("text", ACCEPTED + SECONDS)
def test_accepted_schedules_can_be_read(cron, text):
    schedule(cron, "select 1", text)
    read_schedule(text).last_due(datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize("text", [*REFUSED, "60 seconds", "-5 seconds"])
def test_refused_schedules(cron, text):
    with pytest.raises(psycopg.Error, match="invalid schedule"):
        schedule(cron, "select 1", text)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("* * * * *", "2026-11-24 10:17"),
        ("*/5 * * * *", "2026-11-24 10:15"),
        ("30 9 * * *", "2026-11-24 09:30"),
        ("30 11 * * *", "2026-11-23 11:30"),
        ("0 0 1 * 1", "2026-11-23 00:00"),  # either: a Monday
        ("0 0 1-7 * */7", "2026-11-01 00:00"),  # a field begins with *: both, so the first Sunday
        ("0 0 $ * *", "2026-10-31 00:00"),
        ("0 0 30 feb *", None),
        ("5-1 * * * *", None),
        ("*-5 * * * *", "2026-11-24 10:17"),
        ("@yearly", "2026-01-01 00:00"),
        ("0 0 * * 7", "2026-11-22 00:00"),
    ],
)
def test_when_a_schedule_was_last_due(text, due):
    found = read_schedule(text).last_due(
        datetime(2026, 11, 24, 10, 17, 42, tzinfo=UTC)
    )  # a Tuesday
    assert found == (due and datetime.fromisoformat(due).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "now", "text", "due"),
    [
        ("Europe/Berlin", "2026-11-24 10:17", "30 9 * * *", "2026-11-24 08:30"),
        ("Asia/Kolkata", "2026-11-24 10:17", "0 0 * * *", "2026-11-23 18:30"),
        (
            "Europe/Berlin",
            "2026-03-29 06:00",
            "30 2 * * *",
            "2026-03-29 01:00",
        ),  # an hour that is skipped
        (
            "Europe/Berlin",
            "2026-10-25 06:00",
            "30 2 * * *",
            "2026-10-25 00:30",
        ),  # one that is twice
        (None, "2026-11-24 10:17", "30 9 * * *", "2026-11-24 09:30"),
        ("", "2026-11-24 10:17", "30 9 * * *", "2026-11-24 09:30"),
        ("Nowhere/At all", "2026-11-24 10:17", "30 9 * * *", "2026-11-24 09:30"),
        ("../etc/passwd", "2026-11-24 10:17", "30 9 * * *", "2026-11-24 09:30"),
    ],
)
def test_schedules_are_in_the_time_zone_of_cron(zone, now, text, due):
    moment = datetime.fromisoformat(f"{now}+00:00").astimezone(time_zone(zone))
    found = read_schedule(text).last_due(moment)
    assert found
    assert found.astimezone(UTC) == datetime.fromisoformat(f"{due}+00:00")


def test_the_clock_reads_cron_timezone(dsn, db):
    """An hour of now in Auckland, which no zone near GMT has."""
    db.execute(f"alter database {db.info.dbname} set cron.timezone = 'Pacific/Auckland'")
    hour = db.execute(
        "select extract(hour from now() at time zone 'Pacific/Auckland')::int as hour"
    ).fetchone()["hour"]
    with ticking(dsn):
        here = schedule(db, "select 1", f"0 {hour} * * *")
        long_ago(db, here)
        ended_run(db, here)
        state = "select fired_at > now() - interval '61 minutes' as ok from cron.clock_state where jobid = %s"
        assert db.execute(state, (here,)).fetchone() == {"ok": True}


async def test_an_outage_of_the_clocks_database_is_one_line(monkeypatch, caplog):
    """It was a line a second."""
    monkeypatch.setattr("functions._local.clock.clock.RETRY_S", 0)
    tries = 0

    async def serve(_: str, leads: Callable[[], None], __: object) -> None:
        nonlocal tries
        tries += 1
        if tries == 4:
            leads()
        if tries == 6:
            raise asyncio.CancelledError
        raise psycopg.OperationalError

    monkeypatch.setattr("functions._local.clock.clock._serve", serve)
    with caplog.at_level("WARNING"), pytest.raises(asyncio.CancelledError):
        await run_clock("")
    assert caplog.text.count("the clock's database is away") == 2, "once each time it went"
