"""Values of the wrong type or size from the provider: each job ends, in words, and nobody else is touched by it."""

import gzip
import json
import math
from datetime import UTC, datetime
from functools import partial

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from functions._shared import foreign
from functions._shared.provider import answers, replicate
from functions._shared.provider.failures import Failure, MaybeCreated, PredictionOver, Unreadable
from functions._shared.provider.prediction import MAX_LOGS, UNKNOWN, outputs_of, read_prediction
from functions._shared.provider.replicate import Replicate
from functions.process_generation import adopt, poller, process_generation
from functions.process_generation.poller import Poller
from tests.conftest import Edge
from tests.help import BANANA, SCHNELL, SMALL, eventually, start, until, until_ended

pytestmark = pytest.mark.slow

FAR = "update predictions set next_poll_at = now() + interval '1 hour'"

# fault: what becomes of the generation, in its user's words; the class of the attempt
ODD = {
    "absurd-metrics": (None, []),
    "negative-metrics": (None, []),
    "text-metrics": (None, []),
    "no-metrics": (None, []),
    "many-outputs": None,  # too many to be stored one by one here: see below
    "odd-fields": (None, []),
    "nul-error": ("the model� broke", ["model_failed"]),
    "surrogate-error": ("the model� broke", ["model_failed"]),
    "object-error": ("CUDA out of memory (E1001)", ["model_failed"]),
    "deep-output": (None, []),
    "odd-refusal": (
        "Replicate API error (422): the� input�; is odd (7)",
        ["bad_input"],
    ),
    "nul-output": ("Failed to download/store image: ", []),
}


def start_faulty(edge: Edge, fault: str, model: str) -> str:
    return start(edge, prompt=f"a cat [fault:{fault}]", model_id=model)


def hurry(db) -> None:
    db.execute("update job_queue set scheduled_at = now() where status = 'pending'")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """The sandbox lists a prediction as soon as it is made, and is asked again at once."""
    monkeypatch.setattr(adopt, "LISTED_AFTER_S", 0.0)
    monkeypatch.setattr(replicate, "PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(poller, "LOOK_S", 0.1)


@pytest.mark.parametrize("model", [SCHNELL, BANANA])
@pytest.mark.parametrize("fault", [name for name, told in ODD.items() if told])
def test_each_ends_in_words(edge: Edge, db, sandbox, fault, model):
    text, classes = ODD[fault]
    generation = until_ended(edge, start_faulty(edge, fault, model))
    assert generation["status"] == ("failed" if text else "completed")
    assert (generation["error_message"] or "").startswith(text or "")
    job = db.execute("select * from job_queue where job_type = 'generate-image'").fetchone()
    assert [error["class"] for error in job["errors"]] == classes
    assert (len(sandbox.state.predictions), job["attempt_number"]) == (fault != "odd-refusal", 1)


@pytest.mark.parametrize("fault", ["absurd-metrics", "negative-metrics", "text-metrics"])
def test_what_a_picture_took_is_kept_only_if_it_can_be(edge: Edge, db, fault):
    until_ended(edge, start_faulty(edge, fault, BANANA))
    assert db.execute("select seconds, status from predictions").fetchone() == {
        "seconds": None,
        "status": "succeeded",
    }
    assert until_ended(edge, start_faulty(edge, "object", BANANA))["status"] == "completed"


@pytest.mark.parametrize("fault", ["nul-error", "surrogate-error", "object-error", "odd-refusal"])
def test_a_caller_that_waits_reads_the_same_words(idle_edge: Edge, db, fault):
    text, _ = ODD[fault]
    body = {**SMALL, "prompt": f"a cat [fault:{fault}*]", "model_id": SCHNELL}
    told = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    id = db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', 'pending') returning id",
        (idle_edge.user_id,),
    ).fetchone()["id"]
    legacy = idle_edge.post("generate-image", {**body, "generation_id": str(id)})
    for answer in (told, legacy):
        assert answer.json()["error"] == text
        assert answer.json()["code"] == "GENERATION_FAILED"
    row = db.execute("select status, error_message from image_generations").fetchone()
    assert row == {"status": "failed", "error_message": text}


@pytest.mark.parametrize(
    "fault", ["list-status", "other-id", "no-object", "endless-answer", "dripping-answer"]
)
def test_the_time_limit_ends_a_job_whatever_is_said_of_it(
    start_edge, db, sandbox, monkeypatch, fault
):
    monkeypatch.setattr(poller, "ASKED_S", 0.2)
    monkeypatch.setattr(answers, "MAX_BYTES", 1024 * 1024)
    edge = start_edge(JOB_TIMEOUT_MS="600")
    generation = until_ended(edge, start_faulty(edge, fault, BANANA))
    assert generation["error_message"] == "Generation timeout after 0.6 seconds"
    row = db.execute("select status, error_class from predictions").fetchone()
    assert row == {"status": "canceled", "error_class": "timed_out"}


def test_an_answer_without_end_is_read_no_further_than_its_limit(
    start_edge, db, sandbox, monkeypatch
):
    monkeypatch.setattr(answers, "MAX_BYTES", 1024 * 1024)
    edge = start_edge(JOB_TIMEOUT_MS="600")
    until_ended(edge, start_faulty(edge, "endless-answer", BANANA))
    asked = sandbox.state.calls["get"]
    # What the sockets hold beside it is the system's: some megabytes.
    assert sandbox.state.calls["odd bytes"] < asked * 32 * 1024 * 1024


def test_a_blocking_caller_is_answered_when_its_time_is_up(idle_edge: Edge, monkeypatch):
    short = partial(process_generation, timeout_s=0.5)
    monkeypatch.setattr("functions.process_generation.app.process_generation", short)
    body = {**SMALL, "prompt": "a cat [fault:list-status]", "model_id": SCHNELL}
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert (answer.status_code, answer.json()["code"]) == (500, "GENERATION_FAILED")
    assert answer.json()["error"] == "Generation timeout after 0.5 seconds"


def running(edge: Edge, db, sandbox, faults: list[str]) -> list:
    """Generations whose predictions run, none of them due: their ids, each with its prediction."""
    sandbox.state.seconds = 500
    try:
        ids = [start_faulty(edge, fault, BANANA) for fault in faults]
        until(db, "select count(*) from predictions where status = 'running'", len(faults))
    finally:
        sandbox.state.seconds = 0
    db.execute(FAR)
    made = {
        str(row["id"]): sandbox.state.predictions[row["replicate_prediction_id"]]
        for row in db.execute("select id, replicate_prediction_id from image_generations")
    }
    return [(generation_id, made[generation_id]) for generation_id in ids]


@pytest.mark.parametrize("count", [2, 12], ids=["asked one by one", "listed"])
@pytest.mark.parametrize("fault", ["list-status", "text-metrics", "path-id", "dripping-answer"])
def test_one_bad_prediction_stops_nobody_elses(edge: Edge, db, sandbox, monkeypatch, fault, count):
    """The others' progress is written in the same round, and they complete."""
    monkeypatch.setattr(poller, "ASKED_S", 1.0)
    (_, first), *others = running(edge, db, sandbox, [fault] + ["object"] * count)
    first.created -= 550
    for _, prediction in others:
        prediction.created -= 300  # half of it drawn
    db.execute("update predictions set next_poll_at = now(), polls = 10")
    until(db, "select count(*) from image_generations where progress between 30 and 60", count)
    for _, prediction in others:
        prediction.created -= 250
    db.execute("update predictions set next_poll_at = now() where status = 'running'")
    for generation_id, _ in others:
        assert until_ended(edge, generation_id)["status"] == "completed"


def test_a_bug_in_one_stops_nobody_elses_round_and_its_time_ends_it(
    start_edge, db, sandbox, monkeypatch
):
    """Whatever comes up that nobody has thought of."""
    edge = start_edge()
    (bad_id, bad), (good_id, good) = running(edge, db, sandbox, ["object", "object"])
    settle = poller.settle

    async def broken(resources, due, prediction):
        if prediction.id == bad.id:
            raise psycopg.DataError("cannot be written")
        return await settle(resources, due, prediction)

    monkeypatch.setattr(poller, "settle", broken)
    bad.created -= 550
    good.created -= 550
    db.execute("update predictions set next_poll_at = now()")
    assert until_ended(edge, good_id)["status"] == "completed"
    db.execute("update predictions set next_poll_at = now(), expires_at = now()")
    assert until_ended(edge, bad_id)["error_message"] == "Generation timeout after 10 minutes"


def test_a_round_that_breaks_is_not_the_last(edge: Edge, db, monkeypatch):
    broken = []
    look = Poller._look

    async def once(self):
        if not broken:
            broken.append(True)
            raise RuntimeError
        return await look(self)

    monkeypatch.setattr(Poller, "_look", once)
    eventually(lambda: broken)
    assert until_ended(edge, start_faulty(edge, "object", BANANA))["status"] == "completed"


def test_a_provider_that_asks_to_wait_holds_up_no_job_whose_time_is_up(
    start_edge, db, sandbox, monkeypatch
):
    edge = start_edge()
    [(generation_id, _)] = running(edge, db, sandbox, ["hang"])

    asked = []

    async def busy(self, prediction_id):
        asked.append(prediction_id)
        raise Failure("busy", retry_after_s=3600.0, error_class="busy")

    monkeypatch.setattr(Replicate, "get", busy)
    db.execute("update predictions set next_poll_at = now()")
    eventually(lambda: asked)
    db.execute("update predictions set next_poll_at = now(), expires_at = now()")
    generation = until_ended(edge, generation_id)
    assert generation["error_message"] == "Generation timeout after 10 minutes"


def test_an_absurd_wait_holds_up_nobody(edge: Edge, db):
    """Ten seconds, as where a 429 says nothing."""
    start_faulty(edge, "busy-absurd", SCHNELL)
    soon = "select not_before < now() + interval '12 s' as soon from provider_limits where not_before > now()"
    assert eventually(lambda: db.execute(soon).fetchone()) == {"soon": True}


def test_a_job_whose_result_cannot_be_stored_ends(start_edge, db, monkeypatch):
    async def run(job, resources):
        return job.payload["odd"] and {"bytes": b"\0"}

    async def told(job, resources):
        return {"nul": "a\0b", "half": "\ud83d", "not": math.nan}

    monkeypatch.setattr("functions.process_jobs.jobs.JOBS", {"odd": run, "told": told})
    start_edge()
    db.execute("select enqueue_job('odd', '{\"odd\": true}', p_max_attempts => 1)")
    db.execute("select enqueue_job('told', '{}', p_max_attempts => 1)")
    until(db, "select count(*) from job_queue where status in ('pending', 'processing')", 0)
    rows = db.execute(
        "select status, error_message, result from job_queue order by job_type"
    ).fetchall()
    assert rows[0] == {
        "status": "failed",
        "error_message": "Its result cannot be stored",
        "result": None,
    }
    assert rows[1]["result"] == {"nul": "a�b", "half": "�", "not": None}


# What comes in, made plain.


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'"a\\u0000b\\ud83d"', "a�b�"),
        (b'"\\ud83e\\udd8a"', "\N{FOX FACE}"),
        (b'{"\\u0000": [1e400, NaN, -Infinity, 1.5, 7]}', {"�": [None, None, None, 1.5, 7]}),
        (b"9" * 38, 10**38 - 1),
        (b"9" * 39, 1e39),
        (b"9" * 400, None),
        (b"9" * 5000, None),
        (b"\xef\xbb\xbf[]", []),
        (b'"\xff"', "�"),
        (b'["]", "\\"[", ' + b"[" * 3000 + b'"]"' + b"]" * 3000 + b', {"a": 1}]', None),
    ],
)
def test_a_document_is_plain(raw, value):
    found = foreign.read_json(raw)
    if value is None and isinstance(found, list):
        assert found[:2] + found[3:] == ["]", '"[', {"a": 1}]
        json.dumps(found)
    else:
        assert found == value
        if found is not None:
            assert repr(found).encode()


@pytest.mark.parametrize("deep", [64, 65, 66])
@pytest.mark.parametrize("inmost", ["", '"a"', '{"a": [{}]}', r'"\u0000"'])
def test_a_document_is_plain_however_deep(deep, inmost):
    written = '[{"a": ' * (deep // 2) + "[" * (deep % 2) + inmost
    written += "]" * (deep % 2) + "}]" * (deep // 2)
    written = written.replace('": }', '": 1}')
    assert foreign.read_json(written.encode()) == foreign.plain(json.loads(written))


@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"[" * 3000, b"[" * 3000 + b"}" * 3000, b"[" + b"0," * 600_000 + b"0]"]
)
def test_what_is_no_document_is_said_to_be_none(raw):
    with pytest.raises(ValueError, match=r"."):
        foreign.read_json(raw)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("  as it is ", "as it is"),
        (None, ""),
        (True, ""),
        (7, "7"),
        ({"message": "no memory", "code": "E1001"}, "no memory (E1001)"),
        ({"detail": [{"msg": "one"}, {"msg": "two"}]}, "one; two"),
        ({"error": {"message": "within"}}, "within"),
        ({"status": 3}, '{"status": 3}'),
        ([], ""),
    ],
)
def test_an_error_of_any_shape_is_told_in_words(error, text):
    assert foreign.in_words(error) == text


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"status": ["succeeded"]}, "status", UNKNOWN),
        ({"status": "warming"}, "status", UNKNOWN),
        ({"status": 7}, "status", UNKNOWN),
        ({"metrics": {"total_time": 1e308, "predict_time": 2}}, "seconds", 2.0),
        ({"metrics": {"total_time": True}}, "seconds", None),
        ({"metrics": {"total_time": 86_401}}, "seconds", None),
        ({"metrics": {"total_time": math.nan}}, "seconds", None),
        ({"metrics": {"total_time": 10**30}}, "seconds", None),
        ({"logs": "x" * 5_000_000 + "50%"}, "logs", "x" * (MAX_LOGS - 3) + "50%"),
        ({"output": "https://x/" + "x" * 10_000}, "output", ()),
        ({"output": ["https://x"] * 100_000}, "output", ("https://x",) * 64),
        ({"error": "x" * 10_000}, "error", "x" * 1999 + "…"),
    ],
)
def test_a_prediction_is_read_by_its_types(change, field, value):
    found = read_prediction({"id": "p", "status": "succeeded", **change})
    assert getattr(found, field) == value


@pytest.mark.parametrize("id", ["../account", "a/b", "", "x" * 129, 7, ["p"], None, "a?b", "ü"])
def test_an_id_that_would_lead_elsewhere_is_none(id):
    with pytest.raises(ValueError, match="not the id"):
        read_prediction({"id": id, "status": "succeeded"})


def client(
    *bodies: bytes, status: int = 200, headers=None
) -> tuple[Replicate, list[httpx.Request]]:
    """A client that is answered with ``bodies``, one after the other, and what it has sent."""
    sent: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        stream = httpx.ByteStream(bodies[len(sent) - 1])
        return httpx.Response(status, headers=headers, stream=stream)

    http = httpx.AsyncClient(transport=httpx.MockTransport(serve))
    return Replicate(http, "http://x/v1", SecretStr("t0ken")), sent


@pytest.mark.parametrize("id", ["../account", "a/b", "p?x", "\0"])
async def test_an_id_from_a_row_leads_to_no_other_path(id):
    replicate, sent = client()
    for ask in (replicate.get, replicate.cancel):
        with pytest.raises(PredictionOver):
            await ask(id)
    assert not sent


@pytest.mark.parametrize(
    "following",
    [
        7,
        ["x"],
        "http://evil/v1/predictions?cursor=x",
        "http://x/v1.evil/predictions?x",
        "http://x/v1@evil/",
        "http://x/v1/../account",
        "http://x/v1/predictions?\0",
        "http://x/v1/predictions?" + "x" * 3000,
    ],
)
async def test_the_next_page_is_of_the_same_list(following):
    page = {"results": [None, 7, {"id": "../x", "status": "x"}, {"id": "p", "status": "x"}]}
    replicate, sent = client(json.dumps({**page, "next": following}).encode())
    pages = [page async for page in replicate.recent(datetime.now(UTC))]
    assert [[one.id for one in page] for page in pages] == [["p"]]
    assert len(sent) == 1


@pytest.mark.parametrize("body", [b"[]", b"7", b'{"results": 7}', b"{}", b"null"])
async def test_a_list_that_is_none_cannot_be_read(body):
    replicate, _ = client(body)
    with pytest.raises(Unreadable):
        [page async for page in replicate.recent(datetime.now(UTC))]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"x"',
        b'{"key": 7}',
        b'{"key": "whsec_"}',
        b'{"key": "whsec_\\u0000AAAAAAAAAAAAAAAAAAAA"}',
    ],
)
async def test_a_webhook_secret_that_is_none_is_not_used(body):
    replicate, _ = client(body)
    with pytest.raises(Unreadable):
        await replicate.webhook_secret()


@pytest.mark.parametrize(
    "body", [b"[]", b'{"urls": []}', b'{"urls": {"get": 7}}', b'{"urls": {"get": "/x"}}']
)
async def test_an_uploaded_file_without_an_address_is_said_so(body):
    replicate, _ = client(body)
    with pytest.raises(Unreadable):
        await replicate.upload(b"x", "x.png", "image/png")


async def test_what_unfolds_is_bounded_as_well(monkeypatch):
    monkeypatch.setattr(answers, "MAX_BYTES", 1024 * 1024)
    bomb = gzip.compress(b'"' + b" " * 100_000_000 + b'"')
    replicate, _ = client(bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(Unreadable):
        await replicate.account()
    packed, _ = client(gzip.compress(b'{"username": "me"}'), headers={"Content-Encoding": "gzip"})
    assert await packed.account() == "me"
    for encoding in ("br", "gzip"):
        other, _ = client(b'{"username": "me"}', headers={"Content-Encoding": encoding})
        with pytest.raises(Unreadable):
            await other.account()


async def test_a_create_that_is_answered_without_sense_may_have_been_made():
    for body in (b"[" * 3000, b'{"id": "../account", "status": "starting"}', b'{"id": "p"}'):
        replicate, _ = client(body, status=201)
        with pytest.raises(MaybeCreated):
            await replicate.create("a/b", None, {}, cancel_after_s=60)


def test_many_outputs_are_cut():
    many = {"id": "p", "status": "succeeded", "output": [["https://x"] * 1000] * 1000}
    assert len(outputs_of(read_prediction(many))) == 64
