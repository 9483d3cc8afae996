"""make doctor's checks of the schedule: what is recorded, when it last came, where it goes, and with which key."""

import pytest

from functions._shared.settings import Settings
from scripts.doctor.findings import State
from tests.conftest import Database, Edge
from tests.scripts.test_doctor import assert_is, found, settings_of
from tests.scripts.test_doctor_database import AS_SERVICE, login

__all__ = ["login"]


def schedule(db: Database, address: str, key: str) -> None:
    db.execute("select schedule_process_jobs(%s, %s)", (address, key))


@pytest.fixture
def settings(environ) -> Settings:
    return settings_of(environ)


async def test_the_clocks_presence_is_told(db, settings):
    serve = "picture-edge-clock"
    assert_is(
        await found("extensions", settings), State.WARNING, "pg_cron and pg_net absent", serve
    )
    assert_is(await found("records of cron", settings), State.NOT_ASKED, "absent")
    assert_is(await found("scheduled call", settings), State.NOT_ASKED, "pg_cron is absent")


async def test_a_stand_in_needs_its_clock(db, settings, dsn):
    from scripts.stack import ticking

    with ticking(dsn):
        assert_is(await found("extensions", settings), State.OK, "stands in for pg_cron and pg_net")
    finding = await found("extensions", settings)
    assert_is(finding, State.WRONG, "no clock serves it", "enable --now picture-edge-clock")


@pytest.mark.parametrize(
    ("record", "text", "do"),
    [
        (
            "insert into cron.job_run_details (jobid, status, return_message)"
            " select jobid, 'failed', 'connection failed' from cron.job where jobname = 'cleanup-old-jobs'",
            "cleanup-old-jobs failed: connection failed",
            "cron.use_background_workers = on",
        ),
        (
            "insert into cron.job_run_details (jobid, status, return_message)"
            " select jobid, 'failed', 'ERROR:  own' from cron.job where jobname = 'cleanup-old-jobs'",
            "failed: ERROR:  own",
            "from cron.job_run_details",
        ),
        (
            "update cron.job set active = false where jobname = 'process-jobs-worker'",
            "is not active",
            "schedule_process_jobs(",
        ),
        (
            "insert into net._http_response (id, status_code) values (1, 401)",
            "answered HTTP 401",
            "<service role key>",
        ),
        (
            "insert into net._http_response (id, error_msg) values (1, 'Could not connect')",
            "no response: Could not connect",
            "<address of the gateway>",
        ),
    ],
)
async def test_a_recorded_failure_has_its_remedy(db, clock, settings, record, text, do):
    schedule(db, "http://127.0.0.1:9", "key")
    assert (await found("records of cron", settings)).state is State.OK
    db.execute(record.encode())
    assert_is(await found("records of cron", settings), State.WRONG, text, do)


async def test_a_login_that_may_not_read_the_records_is_told(environ, db, clock, login):
    schedule(db, "http://127.0.0.1:9", "key")
    settings = settings_of(environ, SUPABASE_DB_URL=login + AS_SERVICE)
    db.execute("revoke all on cron.job from public")
    finding = await found("records of cron", settings)
    assert_is(finding, State.WARNING, "service_role may not read", "grant usage")
    assert_is(await found("scheduled call", settings), State.WARNING, "may not read cron.job")
    db.execute(finding.do.encode())
    assert_is(await found("records of cron", settings), State.OK, "no failure")
    assert_is(await found("scheduled call", settings), State.WRONG, "127.0.0.1:9")


async def test_a_login_that_sees_its_own_cron_jobs_only_is_told(environ, db, clock, login):
    schedule(db, "http://127.0.0.1:9", "key")
    settings = settings_of(environ, SUPABASE_DB_URL=login)
    db.execute("grant usage on schema cron to public")
    finding = await found("scheduled call", settings)
    assert_is(finding, State.WARNING, "sees no active job", "schedule_process_jobs")


async def test_when_the_tick_came_is_told(db, clock, settings):
    assert_is(
        await found("tick", settings), State.WARNING, "has not called yet", "schedule_process"
    )
    schedule(db, "http://127.0.0.1:9", "key")
    assert_is(await found("tick", settings), State.WARNING, "has not called yet", "again, in a")
    db.execute("select picture_edge.record_tick()")
    assert_is(await found("tick", settings), State.OK, " s ago")
    db.execute(
        "update cron_ticks set ticked_at = now() - interval '10 minutes', expected_since = null"
    )
    assert_is(await found("tick", settings), State.WRONG, "has not called process-jobs for 60")


async def test_the_scheduled_call_is_made(db, clock, idle_edge: Edge, settings):
    schedule(db, idle_edge.url, idle_edge.service_role_key)
    assert_is(await found("scheduled call", settings), State.OK, f"{idle_edge.url}/functions/v1/")
    ticks = db.execute("select count(ticked_at) as ticks from cron_ticks").fetchone()
    assert ticks == {"ticks": 0}, "not the clock's: it must not hide a silent one"
    schedule(db, idle_edge.url, idle_edge.anon_key + "x")
    finding = await found("scheduled call", settings)
    assert_is(finding, State.WRONG, "refuses the stored key: HTTP 401", "<service role key>")
    schedule(db, "http://127.0.0.1:9", idle_edge.service_role_key)
    assert_is(
        await found("scheduled call", settings), State.WRONG, "Connection refused", "<address of"
    )


async def test_an_address_of_something_else_is_told(db, clock, idle_edge: Edge, settings):
    schedule(db, f"{idle_edge.url}/elsewhere", "key")
    finding = await found("scheduled call", settings)
    assert_is(finding, State.WRONG, "is not process-jobs: it answers HTTP 404", "<address of")


async def test_a_database_elsewhere_that_calls_itself_is_told(db, clock, settings, monkeypatch):
    schedule(db, "http://127.0.0.1:9", "key")
    monkeypatch.setattr("scripts.doctor.deployment.is_loopback", lambda _: False)
    finding = await found("scheduled call", settings)
    assert_is(finding, State.WRONG, "means the database's own machine", "<address of the gateway>")


async def test_the_key_of_a_schedule_by_hand_is_not_tried(db, clock, idle_edge: Edge, settings):
    url = f"{idle_edge.url}/functions/v1/process-jobs"
    command = (
        f"select net.http_post(url := '{url}', headers := '{{\"Authorization\": \"secret\"}}')"
    )
    db.execute("select cron.schedule('by-hand', '* * * * *', %s)", (command,))
    assert_is(await found("scheduled call", settings), State.NOT_ASKED, "key is in the command")
