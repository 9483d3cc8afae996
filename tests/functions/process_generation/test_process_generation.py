"""process-generation: as a function and as a module."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from pydantic import SecretStr

from functions._local.defaults import local_environment
from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.pictures.inspect import inspect
from functions._shared.provider.failures import MaybeCreated, NotCreated, PredictionOver
from functions._shared.provider.prediction import outputs_of, read_prediction
from functions._shared.provider.replicate import Replicate
from functions._shared.resources import open_resources
from functions._shared.settings import Settings
from tests.conftest import Edge
from tests.help import BODY

ENDED = {"id": "p", "status": "succeeded"}


def test_it_answers_with_the_providers_address(idle_edge: Edge, sandbox):
    answer = idle_edge.post(
        "process-generation",
        {**BODY, "width": 1024, "height": 1024, "num_inference_steps": 30},
        idle_edge.service_role_key,
    )
    body = answer.json()
    assert (answer.status_code, body["success"], body["format"]) == (200, True, "webp")
    assert body["output_url"].startswith(sandbox.url.removesuffix("/v1"))
    assert {"width", "height", "generation_time_seconds"} <= set(body)
    assert body["adjustments"] == ["num_inference_steps: asked 30, sent 4"]
    [prediction] = sandbox.state.predictions.values()
    assert (prediction.id, prediction.input["aspect_ratio"]) == (body["prediction_id"], "1:1")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "Prompt is required"),
        ({**BODY, "model_id": "flux/schnell"}, 400, "Unknown model"),
        (
            {
                "prompt": "x",
                "model_id": "flux-dev",
                "source_image_url": "http://169.254.169.254/meta",
            },
            400,
            "source_image_url:",
        ),
    ],
)
def test_bad_input_is_400(idle_edge: Edge, sandbox, body, status, text):
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert answer.json()["error"].startswith(text)
    assert not sandbox.state.predictions


@pytest.mark.parametrize(
    ("generation_id", "status", "text"),
    [
        ("99999999-9999-4999-8999-999999999999", 404, "Generation not found"),
        ("not-a-uuid", 400, "generation_id:"),
    ],
)
def test_nothing_is_paid_for_a_generation_that_no_row_has(
    idle_edge: Edge, sandbox, generation_id, status, text
):
    body = {**BODY, "generation_id": generation_id}
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(text)
    assert not sandbox.state.predictions


def test_a_generation_that_there_is_gets_its_picture_and_nothing_is_written(
    idle_edge: Edge, db, sandbox
):
    row = db.execute(
        "insert into image_generations (user_id, prompt) values (gen_random_uuid(), 'x') returning *"
    ).fetchone()
    body = {**BODY, "generation_id": str(row["id"])}
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert answer.status_code == 200
    assert len(sandbox.state.predictions) == 1
    assert db.execute("select * from image_generations").fetchone() == row
    assert db.execute("select count(*) as n from quota_uses").fetchone() == {"n": 0}


def test_a_source_image_that_the_model_cannot_take_is_not_even_fetched(idle_edge: Edge):
    body = {**BODY, "source_image_url": "https://nowhere.invalid/x.png"}
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert answer.json()["adjustments"] == ["source_image_url: not supported by this model"]


def test_a_provider_that_is_not_there_is_500(start_edge):
    edge = start_edge(REPLICATE_API_URL="http://127.0.0.1:1/v1")
    answer = edge.post("process-generation", BODY, edge.service_role_key)
    assert answer.status_code == 500
    assert answer.json()["error"] == "Replicate is not reachable (ConnectError)"


def test_a_source_image_goes_to_the_provider_as_a_data_uri(idle_edge: Edge, sandbox):
    first = idle_edge.post("generate-image", {**BODY, "width": 256, "height": 256}).json()["url"]
    body = {
        **BODY,
        "model_id": "black-forest-labs/flux-dev",
        "source_image_url": first,
        "strength": 0.0,
    }
    assert idle_edge.post("process-generation", body, idle_edge.service_role_key).status_code == 200
    prediction = list(sandbox.state.predictions.values())[-1]
    assert prediction.input["image"].startswith("data:image/webp;base64,")
    assert prediction.input["prompt_strength"] == 0


@pytest.fixture
async def resources(environ):
    async with open_resources(Settings.from_env(local_environment(environ))) as opened:
        yield opened


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x.png",
        "https://127.0.0.1/x.png",
        "https://localhost/x.png",
        "https://10.0.0.1/x.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x.png",
        "https://[::ffff:127.0.0.1]/x.png",
        "https://user:pw@example.com/x.png",
        "https://0x7f000001/x.png",
        "https://",
        "data:image/png;base64,!!!",
        "data:image/png;base64,",
    ],
)
async def test_a_source_image_is_not_fetched_from_inside(resources, url):
    with pytest.raises(InvalidRequest):
        await resources.fetcher.source(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x.png",
        "http://replicate.delivery/x.png",
        "https://notreplicate.delivery/x.png",
    ],
)
async def test_an_output_is_fetched_from_the_provider_only(resources, url):
    with pytest.raises(GenerationFailed) as refused:
        await resources.fetcher.output(url)
    assert not refused.value.retry


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        (["https://a", "https://b"], ("https://a", "https://b")),
        ("https://a", ("https://a",)),
        ({"url": "https://a"}, ("https://a",)),
        ([{"url": "https://a"}], ("https://a",)),
        ({"images": ["https://a", "https://b"], "seed": "7"}, ("https://a", "https://b")),
        ("data:image/png;base64,AA==", ("data:image/png;base64,AA==",)),
    ],
)
def test_outputs_come_in_many_shapes(output, urls):
    assert outputs_of(read_prediction({**ENDED, "output": output})) == urls


@pytest.mark.parametrize(
    ("status", "error", "error_class", "retry"),
    [
        ("failed", "Prediction interrupted; please retry (code: PA)", "transient", True),
        ("failed", "Director: unexpected error handling prediction (E9828)", "transient", True),
        (
            "failed",
            "NSFW content detected. Try running it again, or try a different prompt.",
            "refused",
            False,
        ),
        ("failed", "The input or output was flagged as sensitive. (E005)", "refused", False),
        ("failed", "Queue is full", "busy", True),
        ("failed", "You've hit your monthly spend limit", "out_of_credit", False),
        ("failed", "CUDA out of memory (E1001)", "model_failed", False),
        ("failed", "KeyError: 'x'", "model_failed", False),
        ("failed", None, "transient", True),
        ("canceled", None, "canceled", False),
        ("aborted", None, "timed_out", True),
        ("succeeded", None, "refused", False),
    ],
)
@pytest.mark.parametrize("output", [[], None, "", {}, 7, {"text": "no"}])
def test_predictions_that_end_without_a_picture(status, error, error_class, retry, output):
    with pytest.raises(PredictionOver) as over:
        outputs_of(read_prediction({"id": "p", "status": status, "error": error, "output": output}))
    assert (over.value.error_class, over.value.retry) == (error_class, retry)
    assert str(over.value)


@pytest.mark.parametrize(
    "told",
    [
        "You've hit your monthly spend limit. Raise it in the settings of account acme-corp.",
        "Insufficient credit: add credit to account acme-corp to run this model",
    ],
)
def test_what_is_the_operators_reaches_no_user(told, caplog):
    with pytest.raises(PredictionOver) as over:
        outputs_of(read_prediction({"id": "p", "status": "failed", "error": told}))
    assert str(over.value) == "the server's Replicate account is out of credit"
    assert told in caplog.text


def test_a_picture_that_was_removed_may_be_made_again():
    with pytest.raises(PredictionOver) as over:
        outputs_of(read_prediction({**ENDED, "output": None, "data_removed": True}))
    assert over.value.retry


def unread(answer: httpx.Response) -> httpx.Response:
    """As it comes from a socket."""
    stream = httpx.ByteStream(answer.content)
    return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)


def replicate_answering(status, **answer) -> Replicate:
    """A client whose every call gets this one answer."""
    transport = httpx.MockTransport(lambda _: unread(httpx.Response(status, **answer)))
    return Replicate(httpx.AsyncClient(transport=transport), "http://x", SecretStr("t0ken"))


LITTLE_CREDIT = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with a burst"
    " of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~8s."
)


@pytest.mark.parametrize(
    ("options", "wait", "spacing"),
    [
        ({"headers": {"Retry-After": "7"}}, 7, None),
        ({"json": {"detail": "throttled", "retry_after": 8}}, 8, None),
        ({"json": {"detail": "Request was throttled. Your rate limit resets in ~30s."}}, 30, None),
        ({"json": {"detail": LITTLE_CREDIT, "retry_after": 8}}, 8, 10),
        ({"json": {"detail": "Expected available in 1 second.", "retry_after": None}}, 1, None),
        ({"json": {"detail": "Your rate limit resets in ~1.5s."}}, 1.5, None),
        ({"text": "busy"}, 10, None),
        ({"headers": {"Retry-After": "1e400"}}, 10, None),
        ({"headers": {"Retry-After": "9" * 400}}, 10, None),
        ({"headers": {"Retry-After": "-5"}, "json": {"retry_after": 10**30}}, 10, None),
        ({"headers": {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}}, 10, None),
        ({"headers": {"Retry-After": "Thu, 99 Jan 9999 00:00:00 GMT"}}, 10, None),
        ({"headers": {"Retry-After": "7200"}}, 3600, None),
        ({"json": {"detail": ["x"], "retry_after": True}}, 10, None),
        ({"text": f"reduced to {'9' * 5000} requests per minute with a burst of 1"}, 10, None),
        ({"text": "reduced to 0 requests per minute with a burst of 1"}, 10, None),
    ],
)
async def test_a_busy_provider_says_how_long_to_wait(options, wait, spacing):
    with pytest.raises(NotCreated) as busy:
        await replicate_answering(429, **options).create("a/b", None, {}, cancel_after_s=60)
    assert (busy.value.retry, busy.value.error_class) == (True, "busy")
    assert (busy.value.retry_after_s, busy.value.spacing_s) == (wait, spacing)


async def test_a_wait_may_be_a_date():
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with pytest.raises(NotCreated) as busy:
        await replicate_answering(429, headers={"Retry-After": then}).create(
            "a/b", None, {}, cancel_after_s=60
        )
    assert 0 < busy.value.retry_after_s <= 90


@pytest.mark.parametrize(
    ("status", "answer", "error_class", "text"),
    [
        (403, "why", "forbidden", "the server's Replicate account may not use this model"),
        (400, "why", "bad_input", "why"),
        (401, "why", "unauthorised", "the server's Replicate token is not accepted"),
        (402, "why", "out_of_credit", "the server's Replicate account is out of credit"),
        (404, "why", "unknown_model", "why"),
        (422, "why", "bad_input", "why"),
        (422, "The specified version does not exist", "unknown_model", None),
    ],
)
async def test_what_the_provider_refuses_is_not_tried_again(status, answer, error_class, text):
    with pytest.raises(NotCreated) as refused:
        await replicate_answering(status, text=answer).create("a/b", None, {}, cancel_after_s=60)
    assert (refused.value.retry, refused.value.error_class) == (False, error_class)
    assert str(refused.value) == f"Replicate API error ({status}): {text or answer}"


@pytest.mark.parametrize("answer", [{"text": "<html>oops"}, {"text": ""}])
async def test_after_a_server_error_nobody_knows(answer):
    with pytest.raises(MaybeCreated) as unclear:
        await replicate_answering(502, **answer).create("a/b", None, {}, cancel_after_s=60)
    assert str(unclear.value) == "Replicate API error (502): Bad Gateway"
    assert unclear.value.retry


@pytest.mark.parametrize("answer", ["not json", "[]", "{}"])
async def test_an_answer_that_is_no_prediction_may_have_made_one(answer):
    with pytest.raises(MaybeCreated):
        await replicate_answering(201, text=answer).create("a/b", None, {}, cancel_after_s=60)


def answering_in_turn(*answers) -> tuple[Replicate, list[httpx.Request]]:
    """A client that gets these answers, or errors, one after the other; and what it sent."""
    sent: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        answer = answers[len(sent) - 1]
        if isinstance(answer, Exception):
            raise answer
        return unread(answer)

    http = httpx.AsyncClient(transport=httpx.MockTransport(serve))
    return Replicate(http, "http://x", SecretStr("t0ken")), sent


def good() -> httpx.Response:
    return httpx.Response(200, json={"id": "p", "status": "starting"})


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr("functions._shared.provider.replicate.PAUSES_S", (0, 0))


@pytest.mark.parametrize("first", [httpx.Response(502), httpx.ReadTimeout("")])
async def test_a_get_is_repeated(no_pauses, first):
    replicate, sent = answering_in_turn(first, first, good())
    assert (await replicate.get("p")).id == "p"
    assert len(sent) == 3


async def test_a_get_that_is_refused_is_not(no_pauses):
    replicate, sent = answering_in_turn(httpx.Response(404))
    with pytest.raises(PredictionOver):
        await replicate.get("p")
    assert len(sent) == 1


async def test_a_create_is_repeated_where_it_never_arrived(no_pauses):
    replicate, sent = answering_in_turn(httpx.ConnectError(""), httpx.ConnectTimeout(""), good())
    assert (await replicate.create("a/b", None, {}, cancel_after_s=60)).id == "p"
    assert len(sent) == 3


@pytest.mark.parametrize(
    "first",
    [
        httpx.ReadTimeout(""),
        httpx.WriteTimeout(""),
        httpx.ReadError(""),
        httpx.RemoteProtocolError(""),
        httpx.Response(500),
        httpx.Response(503),
    ],
    ids=repr,
)
async def test_a_create_that_may_have_arrived_is_not_repeated(no_pauses, first):
    replicate, sent = answering_in_turn(first, good())
    with pytest.raises(MaybeCreated):
        await replicate.create("a/b", None, {}, cancel_after_s=60)
    assert len(sent) == 1


async def test_what_a_create_says_beside_the_input():
    replicate, sent = answering_in_turn(good(), good(), good())
    await replicate.create("a/b", None, {"prompt": "x"}, cancel_after_s=660, wait_s=5)
    await replicate.create("a/b", "ab" * 32, {}, cancel_after_s=10**9, webhook="https://x/hook")
    await replicate.create("a/b", None, {}, cancel_after_s=1)
    assert sent[0].url.path == "/models/a/b/predictions"
    assert (sent[0].headers["cancel-after"], sent[0].headers["prefer"]) == ("660s", "wait=5")
    assert json.loads(sent[0].content) == {"input": {"prompt": "x"}}
    assert sent[1].url.path == "/predictions"
    assert (sent[1].headers["cancel-after"], "prefer" in sent[1].headers) == ("86400s", False)
    assert json.loads(sent[1].content) == {
        "version": "ab" * 32,
        "input": {},
        "webhook": "https://x/hook",
        "webhook_events_filter": ["completed"],
    }
    assert sent[2].headers["cancel-after"] == "5s"
    assert {request.headers["authorization"] for request in sent} == {"Bearer t0ken"}


async def test_no_token_reaches_an_error():
    replicate = replicate_answering(422, text="t0ken and r8_abcdef and whsec_abcdef=")
    with pytest.raises(NotCreated) as refused:
        await replicate.create("a/b", None, {}, cancel_after_s=60)
    assert str(refused.value) == "Replicate API error (422): *** and r8_*** and whsec_***"


@pytest.mark.parametrize(
    "data",
    [b"", b"<html><svg>", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8 ", b"GIF89a", b"\xff\xd8\xff"],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(GenerationFailed):
        inspect(data)
