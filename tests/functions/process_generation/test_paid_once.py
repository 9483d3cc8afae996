"""One paid prediction for each attempt, whatever the provider does: class, the user's text, creates and rows."""

import base64
import copy
import hashlib
import threading
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pytest

from functions._shared.provider import replicate
from functions._shared.provider.prediction import read_prediction
from functions.process_generation import adopt, poller
from functions.process_generation.predictions import RecoverableIntent
from tests.conftest import Edge
from tests.help import BANANA, SCHNELL, SMALL, TERMINAL, eventually, start, until, until_ended

pytestmark = pytest.mark.slow


def hurry(db) -> None:
    """Let nobody wait: retries and the provider's not-before are due now."""
    db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
    db.execute("update provider_limits set not_before = now()")


def run_to_the_end(edge: Edge, db, generation_id: str) -> dict:
    def ended() -> dict | None:
        hurry(db)
        generation = edge.get(f"start-generation/{generation_id}").json()
        return generation if generation["status"] in TERMINAL else None

    return eventually(ended)


def classes(db, job_type="generate-image") -> list[str]:
    row = db.execute("select errors from job_queue where job_type = %s", (job_type,)).fetchone()
    return [error["class"] for error in row["errors"]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """The sandbox lists a prediction as soon as it is made, and is asked again at once."""
    monkeypatch.setattr(adopt, "LISTED_AFTER_S", 0.0)
    monkeypatch.setattr(replicate, "PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(poller, "LOOK_S", 0.1)


# fault, the error classes of the attempts, predictions made
MENDED = [
    ("busy-header", ["busy"], 1),
    ("busy-body", ["busy"], 1),
    ("busy-text", ["busy"], 1),
    ("busy-bare", ["busy"], 1),
    ("busy-header*3", ["busy"], 1),
    ("busy-date", ["busy"], 1),
    ("busy-django", ["busy"], 1),
    ("error-before", ["transient"], 1),
    ("error-after", [], 1),
    ("cut-before", ["transient"], 1),
    ("cut-after", [], 1),
    ("slow-answer", [], 1),
    ("interrupted", ["transient"], 2),
    ("platform", ["transient"], 2),
    ("queue-full", ["busy"], 2),
    ("overloaded", ["busy"], 2),
    ("error-page", ["transient"], 2),
    ("strange-status", [], 1),
    ("object", [], 1),
    ("data-uri", [], 1),
    ("wrong-type", [], 1),
    ("redirect-good", [], 1),
    ("file-error", [], 1),
    ("aborted", ["timed_out"] * 3, 3),
]


@pytest.mark.parametrize(("fault", "expected", "made"), MENDED)
def test_what_can_be_mended_is_and_is_paid_once_an_attempt(
    edge: Edge, db, sandbox, fault, expected, made
):
    sandbox.state.slow_seconds = 0.2
    generation = run_to_the_end(edge, db, start(edge, prompt=f"a cat [fault:{fault}]"))
    if fault == "aborted":
        assert generation["status"] == "failed"
        assert generation["error_message"] == "The provider did not begin in time"
    else:
        assert (generation["status"], generation["error_message"]) == ("completed", None)
        assert len(generation["images"]) == 1
    assert set(classes(db)) == set(expected)
    assert len(sandbox.state.predictions) == made
    assert db.execute(
        "select count(*) as n from predictions where status in ('intended', 'running')"
    ).fetchone() == {"n": 0}


# fault, error class, the user's text, predictions made
FATAL = [
    ("unauthorised", "unauthorised", "Replicate API error (401): the server's Replicate token", 0),
    ("no-credit", "out_of_credit", "Replicate API error (402): the server's Replicate account", 0),
    ("gone", "unknown_model", "Replicate API error (404): The requested resource could not", 0),
    ("failed", "model_failed", "RuntimeError: the model broke", 1),
    ("oom", "model_failed", "CUDA out of memory (E1001)", 1),
    ("flagged", "refused", "The input or output was flagged as sensitive.", 1),
    ("nsfw", "refused", "NSFW content detected.", 1),
    ("moderated", "refused", "Request Moderated", 1),
    ("unheard-of", "model_failed", "frobnication of the latents", 1),
    ("canceled", "canceled", "The provider's prediction was canceled", 1),
    ("filtered", "refused", "The provider returned no image", 1),
]


@pytest.mark.parametrize(("fault", "error_class", "text", "made"), FATAL)
def test_what_cannot_be_mended_fails_at_once(
    edge: Edge, db, sandbox, fault, error_class, text, made
):
    generation = until_ended(edge, start(edge, prompt=f"a cat [fault:{fault}]"))
    assert generation["status"] == "failed"
    assert generation["error_message"].startswith(text)
    assert classes(db) == [error_class]
    assert len(sandbox.state.predictions) == made
    assert not generation["images"]


# fault of the file, what is tried again
FILES = [
    ("not-a-picture", "the file is no picture", 8),
    ("truncated", "the image could not be fetched (RemoteProtocolError)", 8),
    ("endless", "the image is larger than 50 MiB", 1),
    ("missing", "the image answered 404", 1),
    ("redirect-private", "Output address is not on a host of the provider: 169.254.169.254", 1),
]


@pytest.mark.parametrize(("fault", "text", "attempts"), FILES)
def test_a_file_that_cannot_be_had_fails_the_download_only(
    edge: Edge, db, sandbox, fault, text, attempts
):
    generation = run_to_the_end(edge, db, start(edge, prompt=f"a cat [fault:{fault}]"))
    assert generation["error_message"] == f"Failed to download/store image: {text}"
    assert len(classes(db, "download-image")) == attempts
    assert len(sandbox.state.predictions) == 1, "the picture was paid for once"


def test_several_outputs_are_all_stored(edge: Edge, db, sandbox):
    generation = until_ended(edge, start(edge, num_outputs=3))
    names = [image["filename"] for image in generation["images"]]
    id = generation["id"]
    assert names == [f"{id}.webp", f"{id}-2.webp", f"{id}-3.webp"]
    assert len({image["public_url"] for image in generation["images"]}) == 3
    for image in generation["images"]:
        picture = edge.client.get(image["public_url"])
        assert len(picture.content) == image["file_size"]
    assert len(sandbox.state.predictions) == 1


def test_a_fast_model_is_waited_for_in_the_create_and_a_slow_one_polled(edge: Edge, sandbox):
    until_ended(edge, start(edge))
    assert sandbox.state.calls["get"] == 0
    until_ended(edge, start(edge, model_id=BANANA))
    assert sandbox.state.calls["get"] >= 1
    assert sandbox.state.calls["create"] == 2


def test_partly_filtered_outputs_are_stored_as_far_as_they_came(edge: Edge):
    generation = until_ended(edge, start(edge, num_outputs=3, prompt="a cat [fault:partial]"))
    assert (generation["status"], len(generation["images"])) == ("completed", 2)


def test_adjustments_are_kept_with_the_generation(edge: Edge):
    generation = until_ended(edge, start(edge, num_inference_steps=30))
    assert "num_inference_steps: asked 30, sent 4" in generation["adjustments"]


def test_cancelling_the_job_cancels_the_prediction(edge: Edge, db, sandbox):
    generation_id = start(edge, model_id=BANANA, prompt="a cat [fault:hang]")
    until(db, "select count(*) from predictions where status = 'running'", 1)
    db.execute("select cancel_job(id, 'no longer wanted') from job_queue")
    until(db, "select status from predictions", "canceled")
    [prediction] = sandbox.state.predictions.values()
    assert prediction.canceled is not None
    generation = edge.get(f"start-generation/{generation_id}").json()
    assert (generation["status"], generation["error_message"]) == ("cancelled", "no longer wanted")


def test_a_prediction_that_takes_too_long_is_cancelled(start_edge, db, sandbox):
    edge = start_edge(JOB_TIMEOUT_MS="600")
    generation = until_ended(edge, start(edge, model_id=BANANA, prompt="a cat [fault:hang]"))
    assert generation["error_message"] == "Generation timeout after 0.6 seconds"
    assert classes(db) == ["timed_out"]
    [prediction] = sandbox.state.predictions.values()
    assert prediction.canceled is not None
    assert prediction.cancel_after == 61


def completed(edge: Edge, db, generation_id: str) -> bool:
    """Whether it is; retries are due at once, and the provider's Retry-After is cut to 0.1 s."""
    db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
    db.execute("update provider_limits set not_before = least(not_before, now() + '0.1 s')")
    return edge.get(f"start-generation/{generation_id}").json()["status"] == "completed"


def test_a_rate_limited_account_gets_every_picture_and_no_attempt_is_lost(edge: Edge, db, sandbox):
    """6 a minute, burst 1: what a 429 said holds everybody back, and costs no attempt."""
    sandbox.state.limit(600, 1)
    generations = [start(edge, prompt=f"cat {n}") for n in range(8)]
    for generation_id in generations:
        eventually(partial(completed, edge, db, generation_id))
    assert len(sandbox.state.predictions) == 8
    attempts = db.execute(
        "select max(attempt_number) as most from job_queue where job_type = 'generate-image'"
    ).fetchone()
    assert attempts == {"most": 1}


@pytest.mark.parametrize("public", [True, False], ids=["by callback", "by input"])
def test_a_lost_answer_is_found_among_others_alike(start_edge, environ, db, sandbox, public):
    """Two jobs with one input: each finds a prediction of its own, and none is created again."""
    edge = start_edge()
    if public:
        edge = start_edge(PUBLIC_URL=edge.url)
    ids = [start(edge, prompt="a cat [fault:cut-after*2]") for _ in range(2)]
    for generation_id in ids:
        assert run_to_the_end(edge, db, generation_id)["status"] == "completed"
    rows = db.execute("select prediction_id from predictions where status = 'succeeded'").fetchall()
    assert {row["prediction_id"] for row in rows} == set(sandbox.state.predictions)
    assert len(sandbox.state.predictions) == 2


def take_jpeg_only(sandbox) -> None:
    """The model's schema changes at the provider, which refuses what the one we know asks for."""
    model = sandbox.state.models[SCHNELL]
    narrower = {
        **model.properties,
        "output_format": {"type": "string", "enum": ["jpg"], "default": "jpg"},
    }
    sandbox.state.change_schema(SCHNELL, {**model.input_schema, "properties": narrower})


def test_a_blocking_call_reads_a_changed_schema_again_too(idle_edge: Edge, sandbox):
    take_jpeg_only(sandbox)
    answer = idle_edge.post("process-generation", SMALL, idle_edge.service_role_key)
    assert (answer.status_code, answer.json()["format"]) == (200, "jpeg")
    assert len(sandbox.state.predictions) == 1


def test_a_changed_schema_is_read_again_when_the_provider_refuses(edge: Edge, db, sandbox):
    take_jpeg_only(sandbox)
    generation = until_ended(edge, start(edge))
    assert (generation["status"], generation["images"][0]["format"]) == ("completed", "jpeg")
    assert len(sandbox.state.predictions) == 1
    row = db.execute(
        "select input_schema is not null as kept from models where replicate_id = %s", (SCHNELL,)
    )
    assert row.fetchone() == {"kept": True}
    assert db.execute("select status from predictions order by created_at").fetchall() == [
        {"status": "void"},
        {"status": "succeeded"},
    ]


def test_a_model_that_is_gone_upstream_is_marked_and_refused(edge: Edge, db, sandbox):
    del sandbox.state.models[SCHNELL]
    generation = until_ended(edge, start(edge))
    assert generation["status"] == "failed"
    assert "Replicate no longer has it" in generation["error_message"]
    answer = edge.post("start-generation", SMALL)
    assert answer.status_code == 400
    assert answer.json()["error"] == f"Model {SCHNELL} is not available: Replicate no longer has it"
    row = db.execute("select is_active from models where replicate_id = %s", (SCHNELL,)).fetchone()
    assert row == {"is_active": False}


def test_many_due_predictions_are_asked_for_by_one_list(edge: Edge, db, sandbox):
    sandbox.state.seconds = 100
    db.execute(  # no poll before all are due: one that is under way would be counted
        "create or replace function public.poll_quickly() returns trigger language plpgsql"
        " as $$ begin new.first_poll_seconds := 3600; return new; end $$"
    )
    try:
        ids = [start(edge, model_id=BANANA, prompt=f"cat {n}") for n in range(30)]
        until(db, "select count(*) from predictions where status = 'running'", 30)
        sandbox.state.calls.clear()
        ours = list(sandbox.state.predictions.values())
        for n in range(
            150
        ):  # newer ones, of somebody else on the same account, fill the first page
            foreign = copy.copy(ours[0])
            foreign.id = f"foreign{n}"
            sandbox.state.predictions[foreign.id] = foreign
        for prediction in ours:
            prediction.created -= 200
        db.execute("update predictions set next_poll_at = now()")
        for generation_id in ids:
            assert until_ended(edge, generation_id)["status"] == "completed"
    finally:
        sandbox.state.seconds = 0
    assert sandbox.state.calls["list"] >= 1
    assert sandbox.state.calls["get"] < 10


def test_two_edges_settle_each_prediction_once(start_edge, db, sandbox):
    edges = [start_edge(), start_edge()]
    edges[1].user_id = edges[0].user_id
    threads = []
    ids: list[str] = []
    for edge in edges:
        threads.append(
            threading.Thread(
                target=lambda e=edge: ids.extend(start(e, prompt=str(n)) for n in range(10))
            )
        )
        threads[-1].start()
    for thread in threads:
        thread.join()
    for generation_id in ids:
        assert until_ended(edges[0], generation_id)["status"] == "completed"
    assert len(sandbox.state.predictions) == 20
    assert db.execute("select count(*) as n from images").fetchone() == {"n": 20}


def test_a_picture_inside_the_request_is_written_down_by_its_digest(edge: Edge, db, sandbox):
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    start(edge, model_id=BANANA, source_image_url=pixel)
    until(db, "select count(*) from job_queue where status = 'failed'", 1)
    assert db.execute("select count(*) as n from predictions").fetchone() == {"n": 0}, "no picture"
    webp = next(iter(until_ended(edge, start(edge))["images"]))
    data = base64.b64encode(edge.client.get(webp["public_url"]).content).decode()
    uri = f"data:image/webp;base64,{data}"
    until_ended(edge, start(edge, model_id=BANANA, source_image_url=uri))
    [told] = db.execute(
        "select input -> 'image_input' as it from predictions where model like 'google/%'"
    ).fetchone()["it"]
    assert told == f"data:,sha256-{hashlib.sha256(uri.encode()).hexdigest()}"
    assert list(sandbox.state.predictions.values())[-1].input["image_input"] == [uri]


@pytest.mark.parametrize(
    "shape", [lambda a: a, lambda a: [a], lambda a: ["x", a], lambda a: {"k": [[a]]}]
)
def test_pictures_anywhere_in_an_input_do_not_hide_its_prediction(shape):
    """What was sent in their place is not what is recorded; a prediction that is not found is paid for twice."""
    intent = RecoverableIntent(
        job_id=uuid4(), lease_token=1, id=uuid4(), callback_secret="s", status="intended", model="a/b", version=None,
        input={"prompt": "x", "own": shape("DATA:image/png;base64,AAAA")}, created_at=datetime.now(UTC), age_s=0,
    )  # fmt: skip
    sent = {"prompt": "x", "own": shape("https://example.com/uploaded.png")}
    document = {"id": "p1", "status": "starting", "model": "a/b", "input": sent}
    assert adopt._matches(read_prediction(document), intent)
    assert not adopt._matches(
        read_prediction({**document, "input": {**sent, "prompt": "y"}}), intent
    )
