"""The worker: by hand, by itself, and when something ends it or its job."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.types.json import Jsonb

from functions._local.defaults import SANDBOX_TOKEN
from functions._local.sandbox.app import create_sandbox
from functions._shared.provider.replicate import Replicate
from functions.process_jobs import queue
from functions.process_jobs.jobs import generate_image
from functions.process_jobs.worker import Worker
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge, running_edge
from tests.help import BANANA, SMALL, eventually, start, until, until_ended

USER = "11111111-1111-4111-8111-111111111111"


def process(edge: Edge, body=None) -> dict:
    answer = edge.post("process-jobs", body, edge.service_role_key)
    assert answer.status_code == 200
    return answer.json()


def test_an_empty_queue_is_no_error(idle_edge: Edge):
    assert process(idle_edge) == {
        "success": True,
        "processed": 0,
        "errors": 0,
        "message": "Processed 0 job(s) with 0 error(s)",
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_any_method_will_do(idle_edge: Edge, method):
    assert idle_edge.call(method, "process-jobs", idle_edge.service_role_key).status_code == 200


def test_a_claim_that_does_not_come_through_asks_for_fewer_next(edge: Edge, db, monkeypatch):
    """64 payloads of a megabyte over a slow line are cut after five seconds, each time again."""
    asked, narrow = [], True
    real = queue.claim

    async def claim(pool, limit, *others):
        asked.append(limit)
        if narrow and limit > 4:
            raise psycopg.OperationalError("cut")
        return await real(pool, limit, *others)

    monkeypatch.setattr(queue, "claim", claim)
    monkeypatch.setattr("functions.process_jobs.worker.POLL_S", 0.1)
    ids = [start(edge, prompt=f"a cat {n}") for n in range(12)]
    for generation_id in ids:
        assert until_ended(edge, generation_id)["status"] == "completed"
    assert 4 in asked
    narrow = False
    asked.clear()
    eventually(lambda: 64 in asked)


def test_by_hand_it_claims_three_and_answers_when_they_are_done(idle_edge: Edge, db):
    for _ in range(4):
        start(idle_edge)
    assert process(idle_edge)["message"] == "Processed 3 job(s) with 0 error(s)"
    rows = db.execute(
        "select job_type, status, count(*) as n from job_queue where job_type = 'generate-image'"
        " group by 1, 2 order by 1, 2"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("generate-image", "completed", 3),
        ("generate-image", "pending", 1),
    ]
    # The downloads were claimed with the ends before them, by this very process.
    until(db, "select count(*)::int from images", 3)


def test_a_download_that_is_handed_over_has_a_lease_of_the_same_length(
    idle_edge: Edge, db, monkeypatch
):
    begun = threading.Event()

    async def wait(job, resources):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(
        "functions.process_jobs.jobs.JOBS",
        {"generate-image": generate_image.run, "download-image": wait},
    )
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 3600)
    start(idle_edge)
    process(idle_edge)
    begun.wait()
    lease = "select lease_expires_at - now() > '30 min' as long from job_queue where job_type = 'download-image'"
    assert db.execute(lease).fetchone() == {"long": True}


def test_told_not_to_wait_it_answers_at_once_and_the_worker_does_it(edge: Edge, db):
    db.execute("select enqueue_job('generate-image', '{}', p_max_attempts => 1)")
    assert process(edge, {"wait": False})["processed"] == 0
    until(db, "select status from job_queue", "failed")


def test_a_job_of_an_unknown_type_waits_for_a_version_that_knows_it(edge: Edge, db):
    """A rolling deploy: the old workers claimed the new type, and spent its attempts."""
    db.execute("select enqueue_job('resize-video', '{}')")
    db.execute("select enqueue_job('generate-image', '{}')")
    until(db, "select count(*) from job_queue where status = 'failed'", 1)
    assert process(edge)["processed"] == 0
    row = db.execute(
        "select status, attempt_number from job_queue where job_type = 'resize-video'"
    ).fetchone()
    assert row == {"status": "pending", "attempt_number": 0}
    checks = edge.get("process-jobs-test", edge.service_role_key).json()["checks"]
    told = "works; 1 due of type resize-video, for which this version has no handler"
    assert checks["claim"]["detail"] == told


@pytest.mark.parametrize("body", ["[", "[]", '{"wait": "no"}'])
def test_a_bad_body_is_400(idle_edge: Edge, body):
    assert (
        idle_edge.post("process-jobs", None, idle_edge.service_role_key, content=body).status_code
        == 400
    )


def test_errors_are_counted(idle_edge: Edge, db):
    db.execute("select enqueue_job('generate-image', '{}')")
    assert process(idle_edge)["message"] == "Processed 1 job(s) with 1 error(s)"
    assert db.execute("select status from job_queue").fetchone()["status"] == "failed"


def test_bad_input_fails_at_once_and_tells_the_user(edge: Edge, db, sandbox):
    payload = {**SMALL, "user_id": edge.user_id, "model_id": "flux/schnel"}
    db.execute(
        "select enqueue_job('generate-image', %s)", (Jsonb(with_generation(edge, db, payload)),)
    )
    until(db, "select status from image_generations", "failed")
    generation = db.execute("select * from image_generations").fetchone()
    assert generation["error_message"].startswith("Unknown model flux/schnel")
    assert db.execute("select attempt_number from job_queue").fetchone()["attempt_number"] == 1
    assert not sandbox.state.predictions


def with_generation(edge: Edge, db, payload):
    row = db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', 'queued') returning id",
        (edge.user_id,),
    ).fetchone()
    return {**payload, "generation_id": str(row["id"])}


@pytest.mark.parametrize(
    ("job_type", "payload", "fault"),
    [
        ("generate-image", {}, "generation_id: Field required"),
        ("generate-image", {"generation_id": USER, "user_id": USER}, "Prompt is required"),
        ("generate-image", {**SMALL, "generation_id": USER}, "user_id: Field required"),
        ("generate-image", {**SMALL, "generation_id": "x", "user_id": USER}, "generation_id: Input should be a valid"),
        ("download-image", {}, "generation_id: Field required"),
        ("download-image", {"generation_id": USER, "user_id": USER}, "output_url: Field required"),
        ("send-webhook", {"generation_id": USER}, "webhook_url: Field required"),
    ],
)  # fmt: skip
def test_a_payload_queued_by_hand_fails_at_once_with_its_fault(
    edge: Edge, db, job_type, payload, fault
):
    db.execute("select enqueue_job(%s, %s)", (job_type, Jsonb(payload)))
    until(db, "select status from job_queue", "failed")
    job = db.execute("select * from job_queue").fetchone()
    assert fault in job["error_message"]
    assert (job["attempt_number"], job["errors"][0]["class"]) == (1, "bad_input")


def test_without_a_token_for_replicate_the_text_is_the_one_clients_know(start_edge, monkeypatch):
    monkeypatch.setattr("functions._local.defaults.uses_sandbox", lambda _: False)
    edge = start_edge(REPLICATE_API_TOKEN="")
    assert until_ended(edge, start(edge))["error_message"] == "Replicate API token not configured"


def test_a_wrong_token_for_replicate_fails_at_once_and_stays_secret(start_edge, db):
    edge = start_edge(REPLICATE_API_TOKEN="r8_wrong_and_secret")
    generation = until_ended(edge, start(edge))
    assert generation["error_message"].startswith("Replicate API error (401):")
    assert "r8_wrong_and_secret" not in str(db.execute("select * from job_queue").fetchall())


def test_a_dead_workers_job_is_taken_up_and_its_prediction_adopted(idle_edge: Edge, db, sandbox):
    """The worker died after it had paid: the next one waits for that prediction and creates none."""
    generation_id = start(idle_edge)
    job = db.execute("select * from claim_jobs(1)").fetchone()
    prediction = idle_edge.client.post(
        f"{sandbox.url}/models/black-forest-labs/flux-schnell/predictions",
        json={"input": {"prompt": "a cat"}},
        headers={"Authorization": f"Bearer {SANDBOX_TOKEN}"},
    ).json()
    lease = (job["id"], job["lease_token"])
    db.execute(
        "select * from picture_edge.begin_generate_image(%s, %s, %s, '1 h')",
        (*lease, generation_id),
    )
    intent = db.execute(
        "select * from picture_edge.intend_prediction(%s, %s, 'a/b', null, '{}', 'webp', '{}', '1 h')",
        lease,
    ).fetchone()
    db.execute(
        "select picture_edge.park_prediction(%s, %s, %s)",
        (intent["intent_id"], job["lease_token"], prediction["id"]),
    )
    db.execute("update job_queue set lease_expires_at = now()")

    assert process(idle_edge)["errors"] == 0
    process(idle_edge)
    assert until_ended(idle_edge, generation_id)["replicate_prediction_id"] == prediction["id"]
    assert list(sandbox.state.predictions) == [prediction["id"]]


def test_a_prediction_the_provider_has_forgotten_is_made_anew(idle_edge: Edge, db, sandbox):
    generation_id = start(idle_edge)
    db.execute("update image_generations set replicate_prediction_id = 'forgotten'")
    assert process(idle_edge)["errors"] == 1
    db.execute("update job_queue set scheduled_at = now()")
    process(idle_edge), process(idle_edge)
    assert until_ended(idle_edge, generation_id)["status"] == "completed"
    assert len(sandbox.state.predictions) == 1


def test_a_stop_leaves_jobs_parked_and_the_next_process_goes_on(environ, db):
    """Stopping in the middle of a prediction: one prediction all the same, and one attempt."""
    slow = create_sandbox(token=SANDBOX_TOKEN, seconds=500)
    with bound("127.0.0.1", free_port(), "sandbox") as listener, serving(slow, listener):
        environ["REPLICATE_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with running_edge(**environ) as edge:
            generation_id = start(edge, model_id=BANANA)
            until(db, "select replicate_prediction_id is not null from image_generations", True)
        job = db.execute("select status, attempt_number, lease_token from job_queue").fetchone()
        assert job == {"status": "processing", "attempt_number": 1, "lease_token": 1}, "parked"
        [prediction] = slow.state.sandbox.predictions.values()
        prediction.created -= 550  # its time is over now
        with running_edge(**environ) as edge:
            edge.user_id = str(
                db.execute("select user_id from image_generations").fetchone()["user_id"]
            )
            assert until_ended(edge, generation_id)["status"] == "completed"
        assert len(slow.state.sandbox.predictions) == 1


def test_a_job_claimed_again_by_its_own_process_has_one_attempt_that_counts(
    idle_edge: Edge, db, monkeypatch
):
    """As after an outage longer than the lease: the older attempt is stopped, the newer one keeps its lease."""
    generation_id = start(idle_edge)
    begun, first_ended, tokens = threading.Event(), asyncio.Event(), []

    async def wait(job, resources):
        tokens.append(job.lease_token)
        begun.set()
        if len(tokens) == 1:
            try:
                await asyncio.Event().wait()  # for ever, unless it is stopped
            finally:
                first_ended.set()
        await first_ended.wait()
        await generate_image.run(job, resources)

    monkeypatch.setattr("functions.process_jobs.jobs.JOBS", {"generate-image": wait})
    with ThreadPoolExecutor(1) as calls:
        first = calls.submit(process, idle_edge)
        begun.wait()
        db.execute("update job_queue set lease_expires_at = now()")
        assert process(idle_edge)["errors"] == 0
        assert first.result()["errors"] == 0, "its job ended well, by the other attempt"
    assert tokens == [1, 2]
    row = db.execute(
        "select status from image_generations where id = %s", (generation_id,)
    ).fetchone()
    assert row == {"status": "downloading"}


def test_a_stop_in_the_middle_of_the_create_keeps_what_it_pays_for(environ, db, monkeypatch):
    """The create's answer is on its way when the process is told to stop: its id is written down all the same."""
    create, stop = Replicate.create, Worker.stop
    reached, answered = threading.Event(), asyncio.Event()

    async def slow_answer(self, *arguments, **options):
        prediction = await create(self, *arguments, **options)
        reached.set()
        await answered.wait()
        return prediction

    async def answer_once_cancelled(self):
        stopping = asyncio.create_task(stop(self))
        while not any(task.cancelling() for task in self._slots.tasks):  # noqa: ASYNC110 - cancelling() has no event
            await asyncio.sleep(0.01)
        answered.set()
        await stopping

    monkeypatch.setattr(Replicate, "create", slow_answer)
    monkeypatch.setattr(Worker, "stop", answer_once_cancelled)
    monkeypatch.setattr("functions.process_jobs.worker.DRAIN_S", 0.1)
    with running_edge(**environ) as edge:
        start(edge)
        reached.wait()
    row = db.execute(
        "select replicate_prediction_id is not null as kept from image_generations"
    ).fetchone()
    assert row == {"kept": True}
    assert db.execute("select status, attempt_number from job_queue").fetchone() == {
        "status": "pending",
        "attempt_number": 0,
    }


def test_a_job_whose_generation_is_gone_fails_at_once(edge: Edge, db):
    payload = {
        **SMALL,
        "generation_id": "11111111-1111-4111-8111-111111111111",
        "user_id": edge.user_id,
    }
    db.execute("select enqueue_job('generate-image', %s)", (Jsonb(payload),))
    until(db, "select status from job_queue", "failed")
    job = db.execute("select attempt_number, error_message from job_queue").fetchone()
    assert job["attempt_number"] == 1
    assert "waits for a picture" in job["error_message"]


def test_a_worker_that_lost_its_lease_writes_nothing_and_its_prediction_is_cancelled(
    idle_edge: Edge, db, monkeypatch, sandbox
):
    """Its lease is taken over while it pays: its late answer leaves rows as the new holder has them."""
    generation_id = start(idle_edge)
    create = Replicate.create

    async def taken_over(self, *arguments, **options):
        prediction = await create(self, *arguments, **options)
        db.execute(
            "update job_queue set lease_token = lease_token + 1, lease_expires_at = 'infinity'"
        )
        db.execute("update predictions set status = 'void'")
        for made in sandbox.state.predictions.values():
            made.created += 3600  # it has only begun
        return prediction

    monkeypatch.setattr(Replicate, "create", taken_over)
    with ThreadPoolExecutor(1) as calls:
        call = calls.submit(process, idle_edge)
        made = sandbox.state.predictions
        eventually(lambda: [one.status for one in list(made.values())] == ["canceled"])
        job = db.execute("select status, result, error_message from job_queue").fetchone()
        row = db.execute(
            "select status from image_generations where id = %s", (generation_id,)
        ).fetchone()
        db.execute("update job_queue set status = 'failed'")  # what the call waits for
        assert call.result()["errors"] == 1
    assert job == {"status": "processing", "result": None, "error_message": None}
    assert row == {"status": "processing"}


def test_a_bug_in_a_handler_is_retried_and_tells_no_detail(idle_edge: Edge, db, monkeypatch):
    start(idle_edge)

    async def bug(*_, **__):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("functions.process_jobs.jobs.generate_image.create_or_adopt", bug)
    assert process(idle_edge)["errors"] == 1
    job = db.execute("select status, error_message from job_queue").fetchone()
    assert job == {"status": "pending", "error_message": "Internal error"}


def test_a_storage_that_refuses_is_told_as_a_failed_download(start_edge, db):
    edge = start_edge(UPLOAD_FILE_SIZE_LIMIT="10")
    generation = until_ended(edge, start(edge))
    assert generation["status"] == "failed"
    assert generation["error_message"].startswith(
        "Failed to download/store image: Storage refused the image"
    )
    job = db.execute(
        "select attempt_number from job_queue where job_type = 'download-image'"
    ).fetchone()
    assert job["attempt_number"] == 1


def test_statuses_seen_by_a_watcher_only_move_forward(edge: Edge, db):
    order = ["queued", "processing", "downloading", "completed"]
    db.execute("create table seen (at bigserial, id uuid, status text)")
    db.execute(
        "create function note() returns trigger language plpgsql as"
        " $$ begin insert into public.seen (id, status) values (new.id, new.status); return null; end $$"
    )
    db.execute(
        "create trigger note after insert or update of status on image_generations"
        " for each row execute function note()"
    )
    generation_ids = [start(edge) for _ in range(8)]
    for generation_id in generation_ids:
        until_ended(edge, generation_id)
    for generation_id in generation_ids:
        rows = db.execute(
            "select status from seen where id = %s order by at", (generation_id,)
        ).fetchall()
        assert [row["status"] for row in rows] == order


def test_a_job_that_fails_for_good_is_one_warning(idle_edge: Edge, db, caplog):
    db.execute("select enqueue_job('generate-image', '{\"prompt\": \"a secret\"}')")
    with caplog.at_level("WARNING"):
        process(idle_edge)
    [line] = [record.getMessage() for record in caplog.records]
    assert "(generate-image): failed for good: bad_input, attempt 1 of 3" in line
    assert "secret" not in caplog.text


def test_a_users_cancel_is_no_warning(edge: Edge, db, slow, caplog):
    with caplog.at_level("INFO"):
        generation_id = start(edge, model_id="stability-ai/sdxl")
        until(db, "select status from predictions", "running")
        assert edge.call("DELETE", f"start-generation/{generation_id}").status_code == 200
        until(db, "select status from predictions", "canceled")
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


def test_so_is_one_whose_prediction_fails_for_good(edge: Edge, db, caplog):
    with caplog.at_level("WARNING"):
        generation_id = start(edge, prompt="a cat [fault:failed]", model_id="stability-ai/sdxl")
        assert until_ended(edge, generation_id)["status"] == "failed"
        eventually(lambda: "failed for good: model_failed" in caplog.text)
    assert caplog.text.count("failed for good") == 1
