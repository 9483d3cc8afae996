"""process-jobs-test: each part well, or named with what is wrong with it."""

import pytest

from functions._shared.database.version import SCHEMA_VERSION
from tests.conftest import Edge
from tests.functions.process_jobs.test_schema_version import set_version


def ask(edge: Edge) -> dict:
    answer = edge.get("process-jobs-test", edge.service_role_key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cron_of(edge: Edge) -> tuple[bool, str]:
    check = ask(edge)["checks"]["cron"]
    return check["ok"], check["detail"]


def test_all_is_well_and_nobodys_job_is_taken(idle_edge: Edge, db, clock):
    set_version(db, SCHEMA_VERSION)
    schedule(db, idle_edge)
    db.execute("select enqueue_job('generate-image', '{}')")
    db.execute("select picture_edge.record_tick()")
    told = ask(idle_edge)
    assert told["success"] is True, told
    details = {name: check["detail"] for name, check in told["checks"].items()}
    assert details["settings"].startswith("set: SUPABASE_URL, ")
    assert details["schema"] == f"version {SCHEMA_VERSION}"
    assert details["claim"] == "a job would be claimed"
    assert details["provider"] == "account sandbox"
    assert details["storage"] == "bucket generated-images"
    assert details["cron"].endswith(" s ago")
    row = db.execute("select status, attempt_number, worker_id from job_queue").fetchone()
    assert row == {"status": "pending", "attempt_number": 0, "worker_id": None}


def schedule(db, edge: Edge, key: str | None = None) -> None:
    db.execute("select schedule_process_jobs(%s, %s)", (edge.url, key or edge.service_role_key))


def test_a_pause_that_holds_due_jobs_is_told(idle_edge: Edge, db):
    """It said that no job is due."""
    db.execute("select enqueue_job('download-image', '{}') from generate_series(1, 3)")
    db.execute("select pause_queue('download-image')")
    claim = ask(idle_edge)["checks"]["claim"]
    assert claim["detail"].startswith("works; 3 due, held by pause_queue(download-image) since 20")


def test_no_evidence_of_the_clock_is_not_health(idle_edge: Edge, db, clock):
    never = "has not called yet: it does so within a minute of schedule_process_jobs()"
    assert cron_of(idle_edge) == (False, f"{never}; postgres sees no cron job process-jobs-worker")
    schedule(db, idle_edge)
    assert cron_of(idle_edge) == (False, never)
    db.execute("update cron_ticks set expected_since = now() - interval '10 minutes'")
    ok, detail = cron_of(idle_edge)
    assert (ok, detail.startswith("has not called process-jobs for 60")) == (False, True)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            "insert into cron.job_run_details (jobid, status, return_message)"
            " select jobid, 'failed', 'connection failed' from cron.job where jobname = 'cleanup-old-jobs'",
            "cron job cleanup-old-jobs failed: connection failed",
        ),
        (
            "insert into cron.job_run_details (jobid, status, return_message) select jobid, 'failed',"
            " e'ERROR:  permission denied\\nSTATEMENT: secret' from cron.job where jobname = 'process-jobs-worker'",
            "cron job process-jobs-worker failed: ERROR:  permission denied",
        ),
        (
            "update cron.job set active = false where jobname = 'purge-cron-history'",
            "cron job purge-cron-history is not active",
        ),
        (
            "insert into net._http_response (id, status_code) values (1, 401)",
            "pg_net's last call was answered HTTP 401",
        ),
        (
            "insert into net._http_response (id, error_msg) values (1, 'Could not connect to server')",
            "pg_net's last call had no response: Could not connect to server",
        ),
    ],
)
def test_the_records_of_cron_and_net_are_read(idle_edge: Edge, db, clock, record, told):
    """Debian's pg_cron under password authentication: every run fails to connect, and nobody was told."""
    schedule(db, idle_edge)
    db.execute("select picture_edge.record_tick()")
    assert cron_of(idle_edge)[0] is True
    db.execute(record)
    ok, detail = cron_of(idle_edge)
    assert (ok, detail.endswith(f" s ago; {told}")) == (False, True), detail


def test_records_that_it_may_not_read_are_no_evidence(idle_edge: Edge, db, clock):
    db.execute("grant usage on schema cron, net to service_role")
    db.execute("revoke all on cron.job, net._http_response from service_role")
    db.execute("set role service_role")
    found = db.execute("select picture_edge.clock_records() as it").fetchone()["it"]
    assert found[-1] == "service_role may not read the records of pg_cron and pg_net"


BROKEN = {
    "settings": ({"REPLICATE_API_TOKEN": ""}, "not set: REPLICATE_API_TOKEN"),
    "provider": ({"REPLICATE_API_TOKEN": "r8_wrong"}, "Replicate API error (401)"),
    "storage": ({"STORAGE_BUCKET": "other", "SUPABASE_URL": "http://127.0.0.1:9"}, "ConnectError"),
    "database": ({"SUPABASE_DB_URL": "postgresql://127.0.0.1:9/none"}, "database: "),
}  # fmt: skip


@pytest.mark.parametrize("part", BROKEN)
def test_what_is_wrong_is_named_and_the_rest_is_asked_all_the_same(start_edge, monkeypatch, part):
    monkeypatch.setattr("functions._shared.database.pool.POOL_WAIT_S", 1)
    settings, word = BROKEN[part]
    told = ask(start_edge(**settings))
    assert told["success"] is False
    assert told["checks"][part]["ok"] is False
    assert word in told["checks"][part]["detail"]
    assert any(check["ok"] for check in told["checks"].values())


def test_a_claim_that_cannot_be_made_is_told(idle_edge: Edge, db):
    db.execute("drop function claim_jobs(int, text, interval, text[])")
    told = ask(idle_edge)["checks"]
    assert told["claim"] == {**told["claim"], "ok": False, "detail": "database: UndefinedFunction"}
    assert told["database"]["ok"] is True


@pytest.mark.parametrize(
    ("version", "word"),
    [
        (None, "sql/ is older than the code: run make schema"),
        (SCHEMA_VERSION + 1, "sql/ is newer than the code: update the code"),
    ],
)
def test_another_version_of_sql_is_told(idle_edge: Edge, db, version, word):
    set_version(db, version)
    told = ask(idle_edge)
    assert told["checks"]["schema"] == {**told["checks"]["schema"], "ok": False, "detail": word}
    assert told["checks"]["claim"]["ok"] is True
    assert told["success"] is False


def test_no_setting_is_shown(idle_edge: Edge, environ):
    text = idle_edge.get("process-jobs-test", idle_edge.service_role_key).text
    for secret in (environ["REPLICATE_API_TOKEN"], environ["SUPABASE_DB_URL"]):
        assert secret not in text
    assert idle_edge.service_role_key not in text


def test_it_is_for_the_service_role(idle_edge: Edge):
    assert idle_edge.get("process-jobs-test").status_code == 403
    assert idle_edge.get("process-jobs-test", None).status_code == 401
