"""generate-image, the rollback target: with and without a row of the client's, and independent of the queue."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from functions._local.defaults import SANDBOX_TOKEN
from functions._local.sandbox.app import create_sandbox
from scripts.postgres import free_port
from scripts.schema import apply_schema
from scripts.stack import bound, serving
from tests.conftest import Edge, running_edge
from tests.help import BODY, SMALL, eventually, until, until_ended

pytestmark = pytest.mark.slow

PAID = "select count(replicate_prediction_id) from image_generations"


def test_a_stop_fails_the_row_and_the_next_request_adopts_what_was_paid_for(
    environ, db, own_row, monkeypatch
):
    slow = create_sandbox(token=SANDBOX_TOKEN, seconds=500)
    monkeypatch.setattr("scripts.stack.GRACE_S", 0.1)
    with bound("127.0.0.1", free_port(), "sandbox") as listener, serving(slow, listener):
        environ["REPLICATE_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with ThreadPoolExecutor(1) as client, running_edge(**environ) as edge:
            body = {**SMALL, "generation_id": own_row(edge.user_id)}
            waiting = client.submit(edge.post, "generate-image", body)
            until(db, PAID, 1)
            user_id = edge.user_id
        assert waiting.exception() or waiting.result().status_code == 500
        row = db.execute("select status, error_message from image_generations").fetchone()
        assert row == {"status": "failed", "error_message": "The server was stopped"}

        [prediction] = slow.state.sandbox.predictions.values()
        prediction.created -= 550
        with running_edge(**environ) as edge:
            edge.user_id = user_id
            assert edge.post("generate-image", body).status_code == 200
        assert len(slow.state.sandbox.predictions) == 1


WRITING = """
select count(*) as n from pg_stat_activity
where wait_event_type = 'Lock' and query like '%error_message%' and datname = current_database()
"""


def test_a_stop_waits_for_what_has_to_be_written(environ, db, connect, own_row, monkeypatch):
    slow = create_sandbox(token=SANDBOX_TOKEN, seconds=500)
    monkeypatch.setattr("scripts.stack.GRACE_S", 0.1)
    with (
        bound("127.0.0.1", free_port(), "sandbox") as listener,
        serving(slow, listener),
        ThreadPoolExecutor(2) as threads,
        ExitStack() as running,
    ):
        environ["REPLICATE_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        edge = running.enter_context(running_edge(**environ))
        waiting = threads.submit(
            edge.post, "generate-image", {**SMALL, "generation_id": own_row(edge.user_id)}
        )
        until(db, PAID, 1)
        holder = connect(autocommit=False)
        holder.execute("select from image_generations for update")
        stopping = threads.submit(running.close)

        def writing() -> bool:
            assert not stopping.done()
            return db.execute(WRITING).fetchone() == {"n": 1}

        eventually(writing)
        holder.rollback()
        stopping.result()
        assert waiting.exception() or waiting.result().status_code == 500
    row = db.execute("select status, error_message from image_generations").fetchone()
    assert row == {"status": "failed", "error_message": "The server was stopped"}


WAITING = """
select count(*) as n from pg_stat_activity
where wait_event_type = 'Lock' and query like '%claim_jobs%' and datname = current_database()
"""


@pytest.fixture
def own_row(db):
    def insert(user_id, status="pending"):
        row = db.execute(
            "insert into image_generations (user_id, prompt, status) values (%s, 'a cat', %s) returning id",
            (user_id, status),
        ).fetchone()
        return str(row["id"])

    return insert


def test_without_a_row_it_answers_with_the_url_and_records_nothing(edge: Edge, db):
    answer = edge.post("generate-image", BODY)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"success", "url", "format", "generation_time"}
    assert (body["success"], body["format"]) == (True, "webp")
    assert httpx.get(body["url"]).headers["content-type"] == "image/webp"
    assert f"/{edge.user_id}/" in body["url"]
    tables = "select (select count(*) from image_generations) + (select count(*) from images) as n"
    assert db.execute(tables).fetchone()["n"] == 0


def test_with_a_row_it_completes_that_row(edge: Edge, db, own_row, sandbox):
    generation_id = own_row(edge.user_id)
    body = edge.post("generate-image", {**BODY, "generation_id": generation_id}).json()
    assert set(body) == {"success", "image", "generation_time"}
    assert body["image"]["filename"] == f"{generation_id}.webp"
    assert body["image"]["prompt"] == "a cat"
    row = db.execute("select * from image_generations").fetchone()
    assert (row["status"], row["replicate_prediction_id"]) == (
        "completed",
        next(iter(sandbox.state.predictions)),
    )
    assert row["completed_at"] is not None
    image = db.execute("select id, generation_id from images").fetchone()
    assert (str(image["id"]), str(image["generation_id"])) == (body["image"]["id"], generation_id)


def test_which_random_seed_was_used_is_told_and_recorded(edge: Edge, db, own_row, sandbox):
    asked = {**BODY, "generation_id": own_row(edge.user_id), "seed": -1}
    body = edge.post("generate-image", asked).json()
    [prediction] = sandbox.state.predictions.values()
    assert body["adjustments"] == [f"seed: random, sent {prediction.input['seed']}"]
    row = db.execute("select adjustments from image_generations").fetchone()
    assert row == {"adjustments": body["adjustments"]}


def test_a_failure_is_told_and_recorded(edge: Edge, db, own_row):
    generation_id = own_row(edge.user_id)
    answer = edge.post(
        "generate-image", {**SMALL, "generation_id": generation_id, "model_id": "no/such"}
    )
    assert answer.status_code == 400
    row = db.execute("select status, error_message from image_generations").fetchone()
    assert row == {"status": "failed", "error_message": answer.json()["error"]}


def test_somebody_elses_row_does_not_exist(edge: Edge, own_row, sandbox):
    other = own_row("99999999-9999-4999-8999-999999999999")
    answer = edge.post("generate-image", {**SMALL, "generation_id": other})
    assert (answer.status_code, answer.json()["error"]) == (404, "Generation not found")
    assert not sandbox.state.predictions


@pytest.mark.parametrize("status", ["queued", "processing", "completed", "cancelled"])
def test_a_row_begun_or_finished_is_not_paid_for_again(edge: Edge, own_row, sandbox, status):
    answer = edge.post("generate-image", {**SMALL, "generation_id": own_row(edge.user_id, status)})
    assert answer.status_code == 409
    assert not sandbox.state.predictions


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"model_id": "a/b"}, "Prompt is required"),
        ({"prompt": "x"}, "Model ID is required"),
        ({**SMALL, "generation_id": "not-a-uuid"}, "generation_id:"),
    ],
)
def test_bad_input(edge: Edge, body, text):
    answer = edge.post("generate-image", body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(text)


@pytest.mark.parametrize("trouble", ["locked", "dropped", "full"])
@pytest.mark.parametrize("recorded", [True, False])
def test_it_serves_while_the_queue_is(
    start_edge, db, dsn, connect, own_row, monkeypatch, trouble, recorded
):
    """With the worker running and stuck on the queue, too: that is when clients are pointed back here."""
    monkeypatch.setattr("functions._shared.database.pool.ANSWER_S", 1.0)
    monkeypatch.setattr("functions._shared.database.pool.POOL_WAIT_S", 1)
    edge = start_edge(DB_POOL_SIZE="2")
    other = connect(autocommit=False)
    if trouble == "locked":
        other.execute("lock table job_queue in access exclusive mode")
        with ThreadPoolExecutor(
            6
        ) as clients:  # more calls that wait for the lock than there are connections
            answers = [
                clients.submit(edge.post, "process-jobs", {}, edge.service_role_key)
                for _ in range(6)
            ]
            until(db, WAITING, 2)
            stuck = edge.post("generate-image", {**SMALL, "generation_id": own_row(edge.user_id)})
            assert stuck.status_code == 200, stuck.text
        assert {answer.result().status_code for answer in answers} == {503}
    elif trouble == "dropped":
        db.execute("drop table job_queue cascade")
    else:
        db.execute("alter table job_queue add constraint no_room check (false) not valid")
    body = {**SMALL, "generation_id": own_row(edge.user_id)} if recorded else SMALL
    answer = edge.post("generate-image", body)
    assert answer.status_code == 200, answer.text
    other.rollback()
    if trouble == "dropped":
        apply_schema(dsn)
        generation_id = edge.post("start-generation", SMALL).json()["generation_id"]
        assert until_ended(edge, generation_id)["status"] == "completed", "the worker has gone on"
