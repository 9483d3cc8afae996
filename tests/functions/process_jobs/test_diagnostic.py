"""process-jobs-test: each part well, or named with what is wrong with it."""

import pytest

from functions._shared.database.version import SCHEMA_VERSION
from tests.conftest import Edge
from tests.functions.process_jobs.test_schema_version import set_version


def ask(edge: Edge) -> dict:
    answer = edge.get("process-jobs-test", edge.service_role_key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_all_is_well_and_nobodys_job_is_taken(idle_edge: Edge, db):
    set_version(db, SCHEMA_VERSION)
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
