"""A source picture that comes inside a request is sent and stored once, and is there as long as a job may need it."""

import base64
import hashlib
import io
import os
import sys
import threading

import psycopg
import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from functions._shared.generation import GenerationRequest
from tests.conftest import Edge
from tests.functions._shared.pictures.pictures import QUARTERS, encoded
from tests.functions._shared.pictures.test_data_uris import PICTURE, READ
from tests.functions.process_generation.test_source_pictures import uri
from tests.help import BANANA, until, until_ended

MODEL = {"model_id": BANANA}
SMALL = uri(encoded(QUARTERS, "PNG"))
USER = "11111111-1111-4111-8111-111111111111"
STORED = """
select (select coalesce(sum(pg_column_size(payload)), 0) from job_queue)::int as jobs,
    (select coalesce(sum(pg_column_size(uri)), 0) from source_images)::int as pictures,
    (select count(*) from source_images)::int as kept, (select count(*) from job_queue)::int as queued
"""


def large() -> str:
    """A picture of 500 KB, which nothing packs any further."""
    file = io.BytesIO()
    Image.frombytes("RGB", (400, 400), os.urandom(400 * 400 * 3)).save(file, "png")
    return uri(file.getvalue())


def reference(data_uri: str) -> str:
    return f"data:,sha256-{hashlib.sha256(data_uri.encode()).hexdigest()}"


def stored(db) -> dict[str, int]:
    return dict(db.execute(STORED).fetchone())


@pytest.mark.parametrize("key", [None, "once"])
def test_fifty_prompts_store_one_picture(idle_edge: Edge, db, key):
    picture = large()
    body = {**MODEL, "prompt": [f"a cat {n}" for n in range(50)], "source_image_url": picture}
    headers = {"Idempotency-Key": key} if key else {}
    answers = [idle_edge.post("start-generation", body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (answers[0].json() == answers[1].json()) == (key is not None)
    found = stored(db)
    assert (found["kept"], found["queued"]) == (1, 50 if key else 100)
    assert found["pictures"] < 1.1 * len(picture)
    assert found["jobs"] < 1000 * found["queued"]
    row = db.execute("select distinct payload ->> 'source_image_url' as it from job_queue")
    assert [one["it"] for one in row] == [reference(picture)]


def test_it_goes_to_the_database_once(idle_edge: Edge, db, monkeypatch):
    """Counted at the server: what its statements came with."""
    sent: list[int] = []
    real = psycopg.AsyncConnection.execute

    async def execute(self, query, params=None, **options):
        sent.append(len(repr(params)))
        return await real(self, query, params, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", execute)
    picture = large()
    body = {**MODEL, "prompt": ["a cat"] * 50, "source_image_url": picture}
    assert idle_edge.post("start-generation", body).status_code == 200
    assert len(picture) < sum(sent) < 1.2 * len(picture)


def test_it_is_there_when_the_job_runs(edge: Edge, db, sandbox):
    body = {**MODEL, "prompt": ["a cat", "a dog"], "source_image_url": SMALL}
    started = edge.post("start-generation", body).json()["generations"]
    for one in started:
        assert until_ended(edge, one["generation_id"])["status"] == "completed"
    data = SMALL.partition(",")[2]
    for prediction in sandbox.state.predictions.values():
        assert prediction.input["image_input"] == [f"data:image/png;base64,{data}"]
    told = db.execute("select distinct input -> 'image_input' as it from predictions").fetchall()
    assert [one["it"] for one in told] == [[reference(SMALL)]]


@pytest.mark.parametrize("form", ["MIME lines", "URL-safe without padding", "capitals", "bare"])
def test_it_may_come_in_any_form(edge: Edge, sandbox, form):
    body = {**MODEL, "prompt": "a cat", "source_image_url": READ[form]}
    started = edge.post("start-generation", body).json()
    assert until_ended(edge, started["generation_id"])["status"] == "completed"
    [prediction] = sandbox.state.predictions.values()
    head, _, data = prediction.input["image_input"][0].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/jpeg;base64", PICTURE)


def test_one_that_is_no_base64_is_refused_at_once(idle_edge: Edge, db):
    body = {**MODEL, "prompt": "a cat", "source_image_url": "data:image/png;base64,a!"}
    answer = idle_edge.post("start-generation", body)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "source_image_url: the data URI is not base64: it has the character '!'",
    )
    assert stored(db)["queued"] == 0


def test_many_at_once_with_the_same_picture(idle_edge: Edge, db):
    """Two transactions that insert the same row: the second waits for the first, and neither fails."""
    picture, statuses = large(), []
    body = {**MODEL, "prompt": ["a cat"] * 3, "source_image_url": picture}

    def ask() -> None:
        statuses.append(idle_edge.post("start-generation", body).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert (stored(db)["kept"], stored(db)["queued"]) == (1, 24)


def test_what_a_quota_refuses_keeps_no_picture(idle_edge: Edge, db):
    db.execute("select set_user_quota(%s, 2)", (idle_edge.user_id,))
    body = {**MODEL, "prompt": ["a cat"] * 3, "source_image_url": SMALL}
    for headers in ({}, {"Idempotency-Key": "once"}):
        answer = idle_edge.post("start-generation", body, headers=headers)
        assert answer.status_code == 429
    assert stored(db) == {"jobs": 0, "pictures": 0, "kept": 0, "queued": 0}


def test_a_job_that_was_queued_with_its_picture_inside_still_runs(edge: Edge, db, sandbox):
    """By an earlier version, or by hand."""
    [generation] = db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', 'queued') returning id",
        (edge.user_id,),
    ).fetchall()
    payload = {
        **MODEL,
        "prompt": "x",
        "source_image_url": SMALL,
        "user_id": edge.user_id,
        "generation_id": str(generation["id"]),
    }
    db.execute("select enqueue_job('generate-image', %s)", (Jsonb(payload),))
    assert until_ended(edge, str(generation["id"]))["status"] == "completed"
    [prediction] = sandbox.state.predictions.values()
    assert base64.b64decode(prediction.input["image_input"][0].partition(",")[2])
    assert stored(db)["kept"] == 0


def start_by_hand(db, picture: str = SMALL) -> dict[str, object]:
    request = Jsonb({**MODEL, "prompt": "x", "source_image_url": picture})
    return dict(
        db.execute(
            "select * from picture_edge.start_generation(%s, %s)", (USER, request)
        ).fetchone()
    )


def test_start_generation_in_sql_keeps_it_once_too(db):
    for _ in range(3):
        start_by_hand(db)
    assert (stored(db)["kept"], stored(db)["queued"]) == (1, 3)
    start_by_hand(db, "https://example.com/x.png")
    row = db.execute("select payload ->> 'source_image_url' as it from job_queue order by 1")
    assert [one["it"] for one in row] == [reference(SMALL)] * 3 + ["https://example.com/x.png"]


def age(db, interval: str = "2 hours") -> None:
    db.execute("update source_images set kept_at = kept_at - %s::interval", (interval,))


@pytest.mark.parametrize("status", ["pending", "processing", "failed", "cancelled"])
def test_a_purge_leaves_what_a_job_may_still_need(db, status):
    start_by_hand(db)
    db.execute("update job_queue set status = %s", (status,))
    age(db)
    db.execute("select purge_jobs()")
    assert stored(db)["kept"] == 1


def test_a_purge_takes_what_no_job_needs(db):
    start_by_hand(db)
    start_by_hand(db, uri(b"another"))
    db.execute(
        "update job_queue set status = 'completed' where payload ->> 'source_image_url' = %s",
        (reference(SMALL),),
    )
    db.execute("select purge_jobs()")
    assert stored(db)["kept"] == 2, "a request may have kept it and not have committed its job"
    age(db)
    db.execute("select purge_jobs()")
    assert [row["reference"] for row in db.execute("select reference from source_images")] == [
        reference(uri(b"another"))
    ]
    db.execute(
        "update job_queue set status = 'cancelled', completed_at = now() - interval '8 days'"
    )
    db.execute("select purge_jobs()")
    assert stored(db) == {"jobs": 0, "pictures": 0, "kept": 0, "queued": 0}


def test_a_purge_beside_a_request_that_brings_it_again_leaves_it(connect):
    """The purge waits for the row and looks at it again; what it cannot see is the job, which is newer than it."""
    request, purge = connect(autocommit=False), connect()
    start_by_hand(purge)
    purge.execute("update job_queue set status = 'completed'")
    age(purge)
    start_by_hand(request)
    done = threading.Thread(target=lambda: purge.execute("select purge_jobs()"))
    done.start()
    waiting = "select count(*) from pg_locks where not granted and locktype = 'transactionid'"
    until(connect(), waiting, 1)
    request.commit()
    done.join()
    assert stored(purge)["kept"] == 1


def test_a_job_whose_picture_is_gone_says_so(edge: Edge, db, sandbox):
    db.execute("select pause_queue()")
    started = edge.post(
        "start-generation", {**MODEL, "prompt": "x", "source_image_url": SMALL}
    ).json()
    db.execute("update job_queue set status = 'completed'")
    age(db)
    db.execute("select purge_jobs()")
    db.execute("update job_queue set status = 'pending' where id = %s", (started["job_id"],))
    db.execute("select resume_queue()")
    generation = until_ended(edge, started["generation_id"])
    assert generation["error_message"] == (
        "source_image_url: the picture is no longer kept, send it again"
    )
    [job] = db.execute("select errors from job_queue").fetchall()
    assert [error["class"] for error in job["errors"]] == ["bad_input"]
    assert not sandbox.state.predictions


def test_a_redriven_job_finds_it(edge: Edge, db, sandbox):
    prompt = "a cat [fault:failed*1]"
    started = edge.post(
        "start-generation", {**MODEL, "prompt": prompt, "source_image_url": SMALL}
    ).json()
    assert until_ended(edge, started["generation_id"])["status"] == "failed"
    age(db)
    db.execute("select purge_jobs()")
    db.execute("select redrive_job(%s)", (started["job_id"],))
    assert until_ended(edge, started["generation_id"])["status"] == "completed"


@pytest.mark.parametrize("name", ["start-generation", "process-generation", "generate-image"])
def test_nobody_refers_to_what_another_has_sent(idle_edge: Edge, db, name):
    start_by_hand(db)
    body = {**MODEL, "prompt": "x", "source_image_url": reference(SMALL)}
    answer = idle_edge.post(
        name, body, idle_edge.service_role_key if name == "process-generation" else ""
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("source_image_url: ")


def test_no_client_reads_them(db):
    for role in ("anon", "authenticated"):
        db.execute(f"set role {role}")
        for statement in (
            "select * from source_images",
            "select picture_edge.keep_source_image('data:image/x,')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)
        db.execute("reset role")


def test_a_long_picture_costs_its_prompts_nothing():
    """Counted: each character of a megabyte looked at in Python, for each of fifty prompts, took seconds of the GIL."""
    counted = 0

    def count(frame, event, arg):
        nonlocal counted
        counted += 1
        return count

    request = {**MODEL, "prompt": "x", "source_image_url": "data:image/png," + "x" * 900_000}
    sys.settrace(count)
    try:
        GenerationRequest.model_validate(request)
    finally:
        sys.settrace(None)
    assert counted < 1000
