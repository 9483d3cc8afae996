"""The rollback drill of docs/DEPLOYMENT_GUIDE.md, performed; and generate-image for a client that disconnects."""

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.conftest import Edge
from tests.help import BANANA, until, until_ended

BODY = {"prompt": "a cat", "model_id": BANANA}


@pytest.fixture
def slow(sandbox):
    """Pictures that take until ``finish`` is called."""
    sandbox.state.seconds = 200

    def finish() -> None:
        for prediction in sandbox.state.predictions.values():
            prediction.created -= 300

    yield finish
    sandbox.state.seconds = 0


def own_row(db, edge: Edge) -> str:
    row = db.execute(
        "insert into image_generations (user_id, prompt) values (%s, 'a cat') returning id::text as id",
        (edge.user_id,),
    ).fetchone()
    return str(row["id"])


def count(db, query: str) -> int:
    return int(db.execute(f"select count(*) as n from {query}").fetchone()["n"])


def test_a_client_that_hangs_up_finds_its_picture_later(edge: Edge, db, slow, sandbox):
    generation_id = own_row(db, edge)
    body = json.dumps({**BODY, "generation_id": generation_id})
    target = urlsplit(edge.url)
    with socket.create_connection((target.hostname, target.port)) as client:
        client.sendall(
            f"POST /functions/v1/generate-image HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {edge.user_token()}\r\n\r\n{body}".encode()
        )
        until(db, "select count(replicate_prediction_id) from image_generations", 1)
    slow()
    shown = until_ended(edge, generation_id)
    assert shown["status"] == "completed"
    assert edge.client.get(shown["images"][0]["public_url"]).status_code == 200
    assert len(sandbox.state.predictions) == 1


def test_the_drill_there_and_back(edge: Edge, db, clock, slow, sandbox):
    db.execute("select schedule_process_jobs(%s, %s)", (edge.url, edge.service_role_key))
    in_flight = edge.post("start-generation", BODY).json()["generation_id"]
    until(db, "select status from predictions", "running")

    # 1 to 3: the schedule goes, clients are pointed back, what waits and what comes is held.
    assert db.execute("select unschedule_process_jobs() as it").fetchone()["it"] is True
    assert not count(db, "cron.job where jobname = 'process-jobs-worker'")
    db.execute("select pause_queue()")
    held = edge.post("start-generation", BODY).json()["generation_id"]
    unwanted = edge.post("start-generation", BODY).json()
    sandbox.state.seconds = 0
    answer = edge.post("generate-image", {**BODY, "generation_id": own_row(db, edge)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"]["public_url"]

    # 4 and 5: what is in flight ends or is cancelled, what is queued stays.
    slow()
    status = "select status from image_generations where id = %s"
    until(db, status, "downloading", (in_flight,))
    db.execute("select cancel_job(%s)", (unwanted["job_id"],))
    shown = edge.get(f"start-generation/{unwanted['generation_id']}").json()
    assert shown["status"] == "cancelled"
    assert edge.get(f"start-generation/{held}").json()["status"] == "queued"

    # 6: back again.
    db.execute("select resume_queue()")
    db.execute("select schedule_process_jobs(%s, %s)", (edge.url, edge.service_role_key))
    for generation_id in (in_flight, held):
        assert until_ended(edge, generation_id)["status"] == "completed"
    assert count(db, "cron.job where jobname = 'process-jobs-worker'") == 1
    assert len(sandbox.state.predictions) == 3, "two of the queue's, one of generate-image's"
    assert count(db, "images") == 3
