"""DELETE start-generation/<id> and cancel_generation: for queued, running, parked and ended generations."""

from uuid import uuid4

import psycopg
import pytest

from tests.conftest import Edge
from tests.help import BANANA, start, until, until_logged


def cancel(edge: Edge, generation_id: str) -> int:
    return int(edge.call("DELETE", f"start-generation/{generation_id}").status_code)


def job(db) -> str:
    return str(db.execute("select status from job_queue").fetchone()["status"])


def test_what_waits_is_cancelled_and_may_be_cancelled_again(idle_edge: Edge, db):
    generation_id = start(idle_edge)
    answer = idle_edge.call("DELETE", f"start-generation/{generation_id}")
    assert answer.json() == {
        "success": True,
        "generation_id": generation_id,
        "status": "cancelled",
    }
    assert job(db) == "cancelled"
    assert cancel(idle_edge, generation_id) == 200
    shown = idle_edge.get(f"start-generation/{generation_id}").json()
    assert (shown["status"], shown["stage"]) == ("cancelled", "cancelled")


def test_a_parked_one_ends_its_prediction_too(edge: Edge, db, sandbox):
    generation_id = start(edge, model_id=BANANA, prompt="a cat [fault:hang]")
    until(db, "select status from predictions", "running")
    assert cancel(edge, generation_id) == 200
    until(db, "select status from predictions", "canceled")
    [prediction] = sandbox.state.predictions.values()
    assert prediction.canceled is not None


def test_a_running_handler_is_stopped_at_once(capsys, start_edge, db, sandbox, monkeypatch):
    edge: Edge = start_edge(LOG_LEVEL="INFO")
    monkeypatch.setattr(sandbox.state, "slow_seconds", 3600)
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 3600)  # no renewal tells it
    generation_id = start(edge, prompt="a cat [fault:slow-file*]")
    until(db, "select status from job_queue where job_type = 'download-image'", "processing")
    assert cancel(edge, generation_id) == 200
    until_logged(capsys, "attempt stopped")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_what_has_ended_is_deleted(idle_edge: Edge, db, status):
    generation_id = start(idle_edge)
    db.execute("update image_generations set status = %s", (status,))
    answer = idle_edge.call("DELETE", f"start-generation/{generation_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "deleted")
    assert db.execute("select count(*)::int as it from image_generations").fetchone()["it"] == 0
    assert cancel(idle_edge, generation_id) == 404


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_cancel_that_comes_too_late_deletes_nothing(idle_edge: Edge, db, status):
    generation_id = start(idle_edge)
    db.execute("update image_generations set status = %s", (status,))
    answer = idle_edge.call("DELETE", f"start-generation/{generation_id}?only=cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert answer.json()["error"] == f"The generation is {status} already"
    assert idle_edge.get(f"start-generation/{generation_id}").json()["status"] == status


def test_only_cancel_cancels_and_may_be_repeated(idle_edge: Edge):
    path = f"start-generation/{start(idle_edge)}?only=cancel"
    for _ in range(2):
        answer = idle_edge.call("DELETE", path)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_only_delete_deletes_what_was_cancelled_and_nothing_that_runs(idle_edge: Edge, db):
    path = f"start-generation/{start(idle_edge)}"
    answer = idle_edge.call("DELETE", f"{path}?only=delete")
    assert answer.status_code == 409
    assert answer.json()["error"] == "The generation is queued: cancel it first"
    assert job(db) == "pending"
    assert idle_edge.call("DELETE", path).json()["status"] == "cancelled"
    idle_edge.user_id, owner = str(uuid4()), idle_edge.user_id
    assert idle_edge.call("DELETE", f"{path}?only=delete").status_code == 404
    idle_edge.user_id = owner
    assert idle_edge.call("DELETE", f"{path}?only=delete").json()["status"] == "deleted"
    assert idle_edge.call("DELETE", f"{path}?only=delete").status_code == 404


def test_a_misspelt_only_ends_nothing(idle_edge: Edge, db):
    answer = idle_edge.call("DELETE", f"start-generation/{start(idle_edge)}?only=cancle")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert job(db) == "pending"


def test_nobody_elses(idle_edge: Edge, db):
    generation_id = start(idle_edge)
    assert cancel(idle_edge, str(uuid4())) == 404
    assert cancel(idle_edge, "x") == 404
    idle_edge.user_id = str(uuid4())
    assert cancel(idle_edge, generation_id) == 404
    assert job(db) == "pending"


def test_operators_cancel_anybodys_with_a_reason(idle_edge: Edge, db):
    generation_id = start(idle_edge)
    db.execute("select cancel_generation(%s, p_reason => 'abuse')", (generation_id,))
    shown = idle_edge.get(f"start-generation/{generation_id}").json()
    assert (shown["status"], shown["error_message"]) == ("cancelled", "abuse")
    with pytest.raises(psycopg.Error, match="not found"):
        db.execute("select cancel_generation(gen_random_uuid())")


def test_one_that_nobody_works_on(db):
    row = db.execute(
        "insert into image_generations (user_id, prompt) values (gen_random_uuid(), 'x') returning id"
    ).fetchone()
    db.execute("select cancel_generation(%s)", (row["id"],))
    assert db.execute("select status from image_generations").fetchone() == {"status": "cancelled"}
