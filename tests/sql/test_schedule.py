"""The clock of sql/50_schedule.sql: nothing without the extensions, and a real pg_cron's tick where there is one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.postgres import Postgres, free_port, unprivileged_user
from scripts.schema import apply_schema
from tests.conftest import Database, running_edge

DEBIAN = Path("/usr/lib/postgresql/15/bin")
KEY = "the-service-role-key"

# What of pg_net a schedule needs: Debian has no package of it.
NET = """
create schema net;
create table net.http_request_queue (id bigserial, url text, headers jsonb, body jsonb);
create function net.http_post(
    url text, body jsonb = '{}', params jsonb = '{}',
    headers jsonb = '{"Content-Type": "application/json"}', timeout_milliseconds int = 5000
) returns bigint language sql as
'insert into net.http_request_queue (url, headers, body) values (url, headers, body) returning id';
"""


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


@pytest.fixture(scope="module")
def debian() -> Iterator[Postgres]:
    if not Path("/usr/share/postgresql/15/extension/pg_cron.control").exists():
        pytest.skip("no real pg_cron here: Debian's postgresql-15-cron is not installed")
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        user = unprivileged_user() if os.geteuid() == 0 else None
        server = Postgres(DEBIAN, Path(folder) / "postgres", free_port(), user)
        # Background workers need no entry in pg_hba.conf, unlike pg_cron's own connections.
        server.start(
            ["shared_preload_libraries=pg_cron", "cron.use_background_workers=on", "fsync=off"]
        )
        apply_schema(server.url)
        yield server
        server.stop("immediate")


@pytest.fixture
def cron(debian: Postgres) -> Iterator[Database]:
    with psycopg.connect(debian.url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(NET)
        yield connection
        connection.execute("drop schema net cascade")
        connection.execute("delete from cron.job")


def test_sql_makes_the_real_pg_cron_where_it_is_preloaded(cron: Database):
    assert cron.execute("select 1 from pg_extension where extname = 'pg_cron'").fetchone()


def test_scheduling_twice_is_one_job_and_its_command_holds_no_key(cron: Database):
    for key in ("old-key", KEY):
        cron.execute("select schedule_process_jobs('https://edge.example/', %s)", (key,))
    [job] = cron.execute("select * from cron.job").fetchall()
    assert (job["jobname"], job["schedule"]) == ("process-jobs-worker", "* * * * *")
    assert "https://edge.example/functions/v1/process-jobs" in job["command"]
    assert "key" not in job["command"]
    headers = cron.execute("select process_jobs_headers() as headers").fetchone()
    assert headers == {
        "headers": {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    }
    assert cron.execute("select unschedule_process_jobs() as done").fetchone() == {"done": True}
    assert cron.execute("select * from cron.job").fetchall() == []
    assert cron.execute("select process_jobs_headers() as headers").fetchone() == {
        "headers": {"Content-Type": "application/json"}
    }


def test_the_originals_own_statement_schedules_as_it_is(cron: Database):
    cron.execute("""
        select cron.schedule('process-jobs-worker', '* * * * *', $$
            select net.http_post(
                url := 'http://127.0.0.1:54321/functions/v1/process-jobs',
                headers := '{"Content-Type": "application/json"}'::jsonb, body := '{}'::jsonb)
        $$)""")
    assert cron.execute("select unschedule_process_jobs() as done").fetchone() == {"done": True}


@pytest.mark.timeout(150)
def test_a_tick_of_the_real_clock_gets_a_job_done(
    cron: Database, debian: Postgres, environ, monkeypatch
):
    """With the worker's own looking about as good as off, the schedule's call runs a job that plain SQL queued."""
    monkeypatch.setattr("functions.process_jobs.worker.POLL_S", 3600)
    environ["SUPABASE_DB_URL"] = debian.url
    with running_edge(**environ) as edge, httpx.Client() as client:
        edge.post("process-jobs", {}, edge.service_role_key)  # its first look at the queue is over
        cron.execute("select enqueue_job('no-such-type', '{}', p_max_attempts => 1)")
        cron.execute("select schedule_process_jobs(%s, %s)", (edge.url, edge.service_role_key))
        while (
            request := cron.execute("delete from net.http_request_queue returning *").fetchone()
        ) is None:
            pass
        assert cron.execute("select status from job_queue").fetchone() == {"status": "pending"}
        # What pg_net would do: post it as it is, and not wait for the work.
        answer = client.post(request["url"], headers=request["headers"], json=request["body"])
        assert (answer.status_code, answer.json()["processed"]) == (200, 0)
        while cron.execute("select status from job_queue").fetchone() != {"status": "failed"}:
            pass
