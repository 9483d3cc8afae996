"""The clock of sql/50_schedule.sql, on a real pg_cron where there is one, and on the stand-ins."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from functions._local.defaults import sign_key
from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.postgres import Postgres, free_port, unprivileged_user
from scripts.schema import apply_schema
from scripts.stack import ticking
from tests.conftest import Database, Edge, running_edge
from tests.functions._local.test_clock_cron import ACCEPTED, AS_CLERK, REFUSED, RUNS
from tests.help import until, until_logged

pytestmark = pytest.mark.slow

DEBIAN = Path("/usr/lib/postgresql/15/bin")
KEY = "the-service-role-key"


def test_without_the_extensions_nothing_is_scheduled_and_a_notice_says_so(db: Database):
    notices: list[str | None] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert db.execute(
        "select schedule_process_jobs('https://edge.example', 'k') as id"
    ).fetchone() == {"id": None}
    assert "pg_cron or pg_net is absent" in str(notices[0])
    assert db.execute("select unschedule_process_jobs() as done").fetchone() == {"done": False}


@pytest.mark.parametrize("url", [None, "", "edge.example", "ftp://edge.example", "https://"])
def test_an_address_that_is_none_is_refused(db: Database, url):
    with pytest.raises(psycopg.Error, match="p_url"):
        db.execute("select schedule_process_jobs(%s)", (url,))


PRELOADED = ("shared_preload_libraries=pg_cron", "cron.host=127.0.0.1")


@contextmanager
def debian_server(folder: Path, *settings: str) -> Iterator[Postgres]:
    user = unprivileged_user() if os.geteuid() == 0 else None
    server = Postgres(DEBIAN, folder / "postgres", free_port(), user)
    server.start([*settings, "fsync=off"])
    with psycopg.connect(server.admin_url) as admin:
        admin.execute(
            "alter role postgres superuser"
        )  # who makes extensions on a server of one's own
    # As pg_cron's own connections want it; without it every run ends in "connection failed".
    (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    server.run("pg_ctl", "-D", str(server.data), "reload")
    yield server
    server.stop("immediate")


@contextmanager
def debian_folder() -> Iterator[Path]:
    if not Path("/usr/share/postgresql/15/extension/pg_cron.control").exists():
        pytest.skip("no real pg_cron here: Debian's postgresql-15-cron is not installed")
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def debian() -> Iterator[Postgres]:
    """PostgreSQL 15 with the real pg_cron."""
    with debian_folder() as folder, debian_server(folder, *PRELOADED) as server:
        apply_schema(server.url)
        yield server


def connected(server: Postgres) -> Database:
    return psycopg.connect(server.url, autocommit=True, row_factory=dict_row)


@pytest.fixture
def debian_as_new(debian: Postgres) -> Iterator[Postgres]:
    """PostgreSQL 15 with the real pg_cron, and no rows of an earlier test."""
    yield debian
    with connected(debian) as db:
        db.execute("delete from cron.job")
        db.execute(
            "truncate public.job_queue, public.cron_ticks, public.paused_queues, cron.job_run_details"
        )


@pytest.fixture
def cron(debian_as_new: Postgres) -> Iterator[Database]:
    """The real pg_cron; Debian has no pg_net, so the clock stands in for that one alone."""
    with ticking(debian_as_new.url), connected(debian_as_new) as db:
        yield db


def test_sql_makes_the_real_pg_cron_where_it_is_preloaded_and_no_stand_in_comes(cron: Database):
    assert cron.execute("select 1 from pg_extension where extname = 'pg_cron'").fetchone()
    found = cron.execute(
        "select to_regclass('cron.clock_state') as ours, to_regclass('net._http_response')::text as net"
    ).fetchone()
    assert found == {"ours": None, "net": "net._http_response"}


@pytest.fixture(params=["pg_cron", "stand-in"])
def any_clock(request: pytest.FixtureRequest) -> Database:
    """A database that can schedule, by the real extension or by the stand-in."""
    if request.param == "pg_cron":
        return request.getfixturevalue("cron")
    request.getfixturevalue("clock")
    return request.getfixturevalue("db")


def test_scheduling_twice_is_one_job_and_its_command_holds_no_key(any_clock: Database):
    schedule = "select schedule_process_jobs('https://edge.example/', %s) as id"
    first, second = (any_clock.execute(schedule, (key,)).fetchone() for key in ("old-key", KEY))
    assert first == second
    jobs = {job["jobname"]: job for job in any_clock.execute("select * from cron.job").fetchall()}
    assert set(jobs) == {"process-jobs-worker", "cleanup-old-jobs", "purge-cron-history"}
    job = jobs["process-jobs-worker"]
    assert job["schedule"] == "* * * * *"
    assert "https://edge.example/functions/v1/process-jobs" in job["command"]
    assert "key" not in job["command"]
    headers = any_clock.execute("select picture_edge.process_jobs_headers() as headers").fetchone()
    assert headers == {
        "headers": {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    }
    any_clock.execute(jobs["cleanup-old-jobs"]["command"])
    any_clock.execute(jobs["purge-cron-history"]["command"])
    done = "select unschedule_process_jobs() as done"
    assert any_clock.execute(done).fetchone() == {"done": True}
    assert any_clock.execute("select * from cron.job").fetchall() == []
    assert any_clock.execute(
        "select picture_edge.process_jobs_headers() as headers"
    ).fetchone() == {"headers": {"Content-Type": "application/json"}}
    assert any_clock.execute(done).fetchone() == {"done": False}


@pytest.mark.parametrize(
    ("key", "kept"), [(None, f"Bearer {KEY}"), ("", None), ("new", "Bearer new")]
)
def test_scheduling_again_keeps_the_key_unless_another_is_given(clock, db: Database, key, kept):
    again = "select schedule_process_jobs('https://edge.example', %s, '30 seconds')"
    for given in (KEY, key):
        db.execute(again, (given,))
    headers = db.execute(
        "select picture_edge.process_jobs_headers() ->> 'Authorization' as it"
    ).fetchone()
    assert headers == {"it": kept}


def test_scheduling_again_starts_what_was_stopped(any_clock: Database):
    again = "select schedule_process_jobs('https://edge.example') as id"
    job_id = any_clock.execute(again).fetchone()["id"]
    any_clock.execute("select cron.alter_job(%s::bigint, active => false)", (job_id,))
    any_clock.execute(again)
    assert any_clock.execute(
        "select active, count(*) as n from cron.job group by 1"
    ).fetchall() == [{"active": True, "n": 3}]


def test_commands_of_an_earlier_sql_are_rewritten(any_clock: Database):
    """It had process_jobs_headers in public. A command of another user's too, for a superuser."""
    info = any_clock.info
    now = any_clock.execute("select schedule_process_jobs('https://edge.example') as id").fetchone()
    for statement in (
        "update cron.job set command = replace(command, 'picture_edge.', 'public.') where jobid = %s",
        "update cron.job set username = 'picture_edge' where jobid = %s",
    ):
        any_clock.execute(statement, (now["id"],))
    apply_schema(f"postgresql://postgres:postgres@{info.host}:{info.port}/{info.dbname}")
    command = any_clock.execute("select command from cron.job where jobid = %s", (now["id"],))
    assert "headers := picture_edge.process_jobs_headers()" in command.fetchone()["command"]


@pytest.mark.parametrize("path", ["", "/", "/functions/v1", "/functions/v1/process-jobs"])
def test_the_address_may_be_given_with_its_path(clock, db: Database, path):
    db.execute("select schedule_process_jobs(%s)", (f"http://127.0.0.1:54321{path}",))
    command = db.execute("select command from cron.job where jobname = 'process-jobs-worker'")
    assert "'http://127.0.0.1:54321/functions/v1/process-jobs'" in command.fetchone()["command"]


def test_the_key_is_kept_in_the_vault_where_there_is_one(clock, db: Database):
    db.execute("""
        create schema vault;
        create table vault.secrets (id uuid primary key default gen_random_uuid(), name text unique, secret text);
        create view vault.decrypted_secrets as select id, name, secret as decrypted_secret from vault.secrets;
        create function vault.create_secret(new_secret text, new_name text) returns uuid language sql as
        'insert into vault.secrets (secret, name) values (new_secret, new_name) returning id'""")
    for key in ("old-key", KEY):
        db.execute("select schedule_process_jobs('https://edge.example', %s)", (key,))
    assert db.execute("select * from edge_secrets").fetchall() == []
    found = db.execute(
        "select picture_edge.process_jobs_headers() ->> 'Authorization' as it"
    ).fetchone()
    assert found == {"it": f"Bearer {KEY}"}
    db.execute("select unschedule_process_jobs()")
    assert db.execute("select * from vault.secrets").fetchall() == []


ORIGINAL = """
select cron.schedule('process-jobs-worker', %s, $$
    select net.http_post(
        url := '{url}/functions/v1/process-jobs',
        headers := '{{"Content-Type": "application/json"}}'::jsonb, body := '{{}}'::jsonb)
$$)"""


def test_the_originals_own_statement_schedules_as_it_is(any_clock: Database):
    any_clock.execute(ORIGINAL.format(url="http://127.0.0.1:54321"), ("* * * * *",))
    done = any_clock.execute("select unschedule_process_jobs() as done").fetchone()
    assert done == {"done": True}


def enqueue_by_sql(db: Database) -> None:
    db.execute("select enqueue_job('generate-image', '{}', p_max_attempts => 1)")


def until_done(db: Database) -> None:
    until(db, "select 1 from job_queue where status <> 'failed'", None)


async def _never(self: object) -> None:
    return None


@pytest.fixture
def deaf_edge(environ, monkeypatch):
    """A gateway whose worker, once it has looked, looks again only when process-jobs is called."""
    monkeypatch.setattr("functions.process_jobs.worker.LOOK_AGAIN_S", 3600)
    monkeypatch.setattr("functions.process_jobs.worker.POLL_S", 3600)
    monkeypatch.setattr("functions.process_jobs.worker.POLL_UNHINTED_S", 3600)
    monkeypatch.setattr("functions._shared.database.listener.Listener.run", _never)

    @contextmanager
    def run(db: Database, **overrides: str) -> Iterator[Edge]:
        info = db.info
        url = f"postgresql://postgres:postgres@127.0.0.1:{info.port}/{info.dbname}"
        with running_edge(**{**environ, "SUPABASE_DB_URL": url, **overrides}) as edge:
            edge.post("process-jobs", {}, edge.service_role_key)  # its first look is over
            yield edge

    return run


def restart(server: Postgres) -> None:
    """Restart PostgreSQL with the same options and pg_hba.conf, so that @reboot jobs can connect at once."""
    log = str(server.data / "server.log")
    done = server.run("pg_ctl", "-D", str(server.data), "-l", log, "-w", "-m", "fast", "restart")
    assert done.returncode == 0, done.stderr


def test_a_tick_of_the_real_clock_gets_a_job_done(debian_as_new: Postgres, deaf_edge):
    """A job queued by plain SQL is done with nothing but the schedule, and runs are recorded as by the stand-in.

    The real clock starts @reboot jobs with the server; others at full minutes only, half a minute away on average.
    """
    port = free_port()
    key = sign_key(LOCAL_JWT_SECRET, "service_role")
    with ticking(debian_as_new.url), connected(debian_as_new) as db:
        db.execute(
            "select schedule_process_jobs(%s, %s, '@reboot')", (f"http://127.0.0.1:{port}", key)
        )
        wanted = [
            (
                db.execute("select cron.schedule('@reboot', %s) as id", (run[0],)).fetchone()["id"],
                *run,
            )
            for run in RUNS
        ]
        db.execute("create role clerk login")
        made = (
            "select cron.schedule_in_database('clerks', '@reboot', %s, 'postgres', 'clerk') as id"
        )
        clerks = db.execute(made, (AS_CLERK,)).fetchone()["id"]
        wanted.append((clerks, AS_CLERK, "succeeded", "DO"))
    restart(debian_as_new)
    with connected(debian_as_new) as db:
        with deaf_edge(db, EDGE_PORT=str(port)):
            enqueue_by_sql(db)
            with ticking(debian_as_new.url):  # sends the HTTP request that the tick has queued
                until_done(db)
        assert db.execute("select * from cron_ticks").fetchone()
        ids = [job_id for job_id, *_ in wanted]
        ended = (
            "from cron.job_run_details where jobid = any(%s) and status in ('succeeded', 'failed')"
        )
        until(db, f"select count(*) {ended}", len(wanted), (ids,))
        recorded = db.execute(
            f"select jobid, command, status, return_message {ended} order by jobid".encode(), (ids,)
        )
        runs = [tuple(row.values()) for row in recorded]
        db.execute("drop table t")
        db.execute("drop role clerk")
    assert runs == wanted, "each once: an @reboot job does not run when it is scheduled"


ORIGINAL_WITH_KEY = """
select cron.schedule('process-job-queue', %s, $$
    select net.http_post(
        url := '{url}/functions/v1/process-jobs',
        headers := jsonb_build_object('Content-Type', 'application/json',
            'Authorization', 'Bearer ' || current_setting('app.settings.service_role_key')),
        body := '{{}}'::jsonb) as request_id
$$)"""


@pytest.mark.parametrize("statement", ["ours", "the original's", "the original's, with its key"])
def test_a_tick_of_the_stand_ins_gets_a_job_done(clock, db: Database, deaf_edge, statement):
    open_to_all = "process-jobs" if statement == "the original's" else ""
    with deaf_edge(db, NO_VERIFY_JWT=open_to_all) as edge:
        enqueue_by_sql(db)
        if statement == "ours":
            db.execute(
                "select schedule_process_jobs(%s, %s, '1 second')",
                (edge.url, edge.service_role_key),
            )
        elif open_to_all:
            db.execute(ORIGINAL.format(url=edge.url), ("1 second",))
        else:
            db.execute(
                f"alter database {db.info.dbname}"  # type: ignore[arg-type]
                f" set app.settings.service_role_key = '{edge.service_role_key}'"
            )
            db.execute(ORIGINAL_WITH_KEY.format(url=edge.url), ("1 second",))
        until_done(db)
        until(db, "select status_code from net._http_response", 200)


def test_ticks_that_overlap_and_come_twice_run_nothing_twice(clock, db: Database, deaf_edge):
    with deaf_edge(db) as edge:
        db.execute(
            "select schedule_process_jobs(%s, %s, '1 second')", (edge.url, edge.service_role_key)
        )
        for _ in range(50):
            enqueue_by_sql(db)
        command = db.execute("select command from cron.job where schedule = '1 second'").fetchone()
        for _ in range(10):
            db.execute(command["command"])
        until_done(db)
    rows = db.execute("select distinct attempt_number, lease_token from job_queue").fetchall()
    assert rows == [{"attempt_number": 1, "lease_token": 1}]


def test_an_hour_without_ticks_is_seen(db: Database):
    seconds = "select seconds_since_last_tick as it from queue_status"
    overdue = "select picture_edge.tick_overdue() as it"
    assert db.execute(seconds).fetchone() == db.execute(overdue).fetchone() == {"it": None}
    db.execute("select picture_edge.record_tick()")
    assert db.execute(seconds).fetchone()["it"] < 60
    assert db.execute(overdue).fetchone() == {"it": None}
    db.execute("update cron_ticks set ticked_at = now() - interval '1 hour'")
    assert db.execute(seconds).fetchone()["it"] >= 3600
    assert db.execute(overdue).fetchone()["it"].total_seconds() >= 3600
    db.execute("update cron_ticks set distance = interval '25 minutes'")
    assert db.execute(overdue).fetchone() == {"it": None}, "a slow schedule is not late yet"
    db.execute("select unschedule_process_jobs()")
    assert db.execute(seconds).fetchone() == {"it": None}


@pytest.mark.parametrize(
    ("when", "minutes", "is_overdue"),
    [
        ("* * * * *", 2, False),
        ("* * * * *", 4, True),
        ("30 seconds", 4, True),
        ("*/10 * * * *", 25, False),  # how far apart its calls are is not known before the second
        ("*/10 * * * *", 181, True),
    ],
)
def test_silence_counts_from_the_moment_of_scheduling(
    clock, db: Database, when, minutes, is_overdue
):
    """A wrong address, a wrong key, `connection failed`: no call ever came, and none was missed."""
    db.execute("select schedule_process_jobs('https://edge.example', 'k', %s)", (when,))
    db.execute(
        "update cron_ticks set expected_since = now() - make_interval(mins => %s)", (minutes,)
    )
    found = db.execute("select picture_edge.tick_overdue() is not null as it").fetchone()
    assert found == {"it": is_overdue}
    db.execute("select picture_edge.record_tick()")
    db.execute("select picture_edge.record_tick()")
    row = db.execute("select distance < '1 minute' as measured from cron_ticks").fetchone()
    assert row == {"measured": True}


def test_runs_without_an_end_are_purged_too(any_clock: Database):
    """`connection failed` has no time at all in pg_cron 1.4: those rows stayed for ever."""
    db = any_clock
    db.execute("select schedule_process_jobs('https://edge.example', 'k')")
    db.execute("delete from cron.job_run_details")
    for runid, started, ended in [
        (1, None, None),  # connection failed, long ago
        (2, "8 days", "8 days"),
        (3, "8 days", None),  # ended by a restart
        (4, "6 days", "6 days"),
        (5, None, None),  # connection failed, after a run of the last week
        (6, "0 days", None),
    ]:
        db.execute(
            "insert into cron.job_run_details (runid, jobid, status, start_time, end_time)"
            " values (%s, 1, 'failed', now() - %s::interval, now() - %s::interval)",
            (runid, started, ended),
        )
    command = db.execute(
        "select command from cron.job where jobname = 'purge-cron-history'"
    ).fetchone()
    db.execute(command["command"])
    kept = db.execute("select runid from cron.job_run_details order by runid").fetchall()
    assert [row["runid"] for row in kept] == [4, 5, 6]


def test_the_gateway_says_when_ticks_stop_and_come_again(db, start_edge, monkeypatch, capfd):
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 0.1)
    db.execute("insert into cron_ticks (ticked_at) values (now() - interval '1 hour')")
    edge = start_edge(LOG_LEVEL="INFO")

    def silent_s() -> int | None:
        return edge.client.get(f"{edge.url}/ready").json()["cron_silent_s"]

    told = until_logged(capfd, "cron has not called process-jobs for 36")
    assert (silent_s() or 0) >= 3600
    db.execute("select picture_edge.record_tick()")
    told += until_logged(capfd, "cron calls process-jobs again")
    assert told.count("has not called") == 1
    assert silent_s() is None


JOBS = "select jobname::text, schedule, command, database, username, active from cron.job order by jobid"


def test_the_jobs_of_the_stand_in_move_to_the_real_pg_cron_when_it_comes():
    """The move is the same command as ever: apply sql/ again."""
    with debian_folder() as folder:
        with debian_server(folder) as plain:
            apply_schema(plain.url)
            with ticking(plain.url), psycopg.connect(plain.url, autocommit=True) as db:
                db.execute("select schedule_process_jobs('https://edge.example', 'k')")
                db.execute("select cron.schedule('0 0 1 1 *', 'select 1')")
                db.execute("select cron.alter_job(1, active => false)")
                before = db.execute(JOBS).fetchall()
                assert len(before) == 4
                apply_schema(plain.url)
                assert db.execute(JOBS).fetchall() == before, "it cannot be made yet"
        with debian_server(folder, *PRELOADED) as real:
            apply_schema(real.url)
            with ticking(real.url), psycopg.connect(real.url, autocommit=True) as db:
                assert db.execute(
                    "select extname from pg_extension where extname = 'pg_cron'"
                ).fetchone()
                assert db.execute(JOBS).fetchall() == before
                assert db.execute("select to_regclass('cron.clock_state')").fetchone() == (None,)


def test_schedules_are_taken_and_refused_as_by_the_real_one(cron: Database):
    """1.4, which Debian has; seconds and the day $ came later."""
    for text in (*ACCEPTED, "0 0 L * *", *REFUSED):
        try:
            cron.execute("select cron.schedule(%s, 'select 1')", (text,))
        except psycopg.Error:
            assert text in REFUSED
        else:
            assert text in ACCEPTED


@pytest.fixture
def clerk(any_clock: Database) -> Iterator[str]:
    """A plain role that may schedule and alter jobs."""
    any_clock.execute("create role clerk login")
    any_clock.execute("grant usage on schema cron to clerk, anon")
    any_clock.execute("grant execute on all functions in schema cron to clerk")
    yield "clerk"
    any_clock.execute("reset role")
    any_clock.execute("delete from cron.job where username = 'clerk'")
    any_clock.execute("revoke usage on schema cron from anon")
    any_clock.execute("drop owned by clerk")
    any_clock.execute("drop role clerk")


@pytest.mark.parametrize(
    ("role", "arguments", "sqlstate", "message"),
    [
        ("postgres", "null, active => true", "XX000", "job_id can not be NULL"),
        ("postgres", "{job}", "XX000", "no updates specified"),
        ("postgres", "999, active => true", "XX000", "Job 999 does not exist or you don't own it"),
        ("postgres", "{job}, 'x'", "22023", "invalid schedule: x"),
        ("postgres", "{job}, username => 'nobody'", "XX000", 'role "nobody" does not exist'),
        ("postgres", "{job}, username => 'anon'", "XX000", 'role "anon" can not log in'),
        ("postgres", "{job}, database => 'nodb'", "3D000", 'database "nodb" does not exist'),
        # Of several wrong arguments the same one is told.
        ("postgres", "999, 'x', 'c', 'nodb', 'nobody'", "XX000", 'role "nobody" does not exist'),
        ("postgres", "999, 'x', 'c', 'nodb'", "3D000", 'database "nodb" does not exist'),
        ("postgres", "999, 'x', 'c'", "22023", "invalid schedule: x"),
        ("postgres", "{job}, database => 'closed', username => 'clerk'", "XX000",
         "User clerk does not have CONNECT privilege on closed"),
        ("clerk", "{job}, database => 'closed'", "XX000", "User clerk does not have CONNECT privilege on closed"),
        ("clerk", "{job}, active => false", "XX000", "Job {job} does not exist or you don't own it"),
        ("clerk", "{job}, username => 'clerk'", "XX000", "must be superuser to alter username"),
        ("anon", "{job}, active => false", "42501", "permission denied for function alter_job"),
    ],
)  # fmt: skip
def test_alter_job_refuses_as_pg_cron_does(
    any_clock: Database, clerk, role, arguments, sqlstate, message
):
    job = any_clock.execute("select cron.schedule('0 0 1 1 *', 'select 1') as id").fetchone()["id"]
    if "closed" in arguments:
        any_clock.execute("create database closed")
        any_clock.execute("revoke connect on database closed from public")
    any_clock.execute(f"set role {role}")
    try:
        with pytest.raises(psycopg.Error) as refused:
            any_clock.execute(f"select cron.alter_job({arguments.format(job=job)})")
    finally:
        any_clock.execute("reset role")
        any_clock.execute("drop database if exists closed")
    found = (refused.value.sqlstate, refused.value.diag.message_primary)
    assert found == (sqlstate, message.format(job=job))


def test_a_role_alters_its_own_job(any_clock: Database, clerk):
    any_clock.execute("set role clerk")
    made = "select cron.schedule('0 0 1 1 *', 'select 1') as id"
    job = any_clock.execute(made).fetchone()["id"]
    any_clock.execute("select cron.alter_job(%s, '@daily', 'select 2', active => false)", (job,))
    found = any_clock.execute("select jobid, schedule, command, active from cron.job").fetchall()
    assert found == [{"jobid": job, "schedule": "@daily", "command": "select 2", "active": False}]


def test_a_role_that_may_not_log_in_may_schedule(any_clock: Database, clerk):
    """Its runs fail; cron.schedule checks that of a role only that it is told by name."""
    any_clock.execute("set role anon")
    any_clock.execute("select cron.schedule('0 0 1 1 *', 'select 1')")
    assert any_clock.execute("select username from cron.job").fetchall() == [{"username": "anon"}]
    any_clock.execute("reset role")


CATALOGUE = {
    "columns": "select table_name, column_name, ordinal_position, is_nullable from information_schema.columns"
    " where table_schema = 'cron' and table_name like 'job%' order by 1, 3",
    "functions": "select proname, pg_get_function_arguments(oid) as arguments, proisstrict,"
    " has_function_privilege('anon', oid, 'execute') as open from pg_proc"
    " where pronamespace = 'cron'::regnamespace and proname ~ '^(schedule|alter_job)' order by 1, 2",
    "policies": "select tablename, policyname, qual from pg_policies where schemaname = 'cron' order by 1",
    "rights": "select table_name, privilege_type from information_schema.table_privileges"
    " where table_schema = 'cron' and grantee = 'PUBLIC' order by 1, 2",
}


@pytest.mark.parametrize("query", CATALOGUE.values(), ids=CATALOGUE)
def test_the_catalogue_is_the_real_ones(cron: Database, clock, db: Database, query):
    def plain(rows):
        return [
            {
                name: str(value).replace("NULL::text", "NULL").replace("::name", "::text")
                for name, value in row.items()
            }
            for row in rows
        ]

    assert plain(db.execute(query)) == plain(cron.execute(query))
