"""process-generation: as a function and as a module."""

import httpx
import pytest
from pydantic import SecretStr

from functions._local.defaults import local_environment
from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.fetch import fetch_output, fetch_source
from functions._shared.pictures import inspect
from functions._shared.resources import open_resources
from functions._shared.settings import Settings
from functions.process_generation.replicate import Replicate, ended_without_picture, first_output
from tests.conftest import Edge

BODY = {"prompt": "a cat", "model_id": "black-forest-labs/flux-schnell"}


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
        await fetch_source(resources, url)


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
        await fetch_output(resources, url)
    assert not refused.value.retry


@pytest.mark.parametrize(
    ("output", "url"),
    [
        (["https://a", "https://b"], "https://a"),
        ("https://a", "https://a"),
        ({"url": "https://a"}, "https://a"),
        ([{"url": "https://a"}], "https://a"),
        ([], None),
        (None, None),
        ("", None),
        ({}, None),
        (7, None),
    ],
)
def test_outputs_come_in_three_shapes(output, url):
    assert first_output(output) == url


@pytest.mark.parametrize(
    ("status", "error", "retry"),
    [
        ("failed", "Prediction interrupted; please retry (code: PA)", True),
        (
            "failed",
            "NSFW content detected. Try running it again, or try a different prompt.",
            False,
        ),
        ("failed", "The input or output was flagged as sensitive. (E005)", False),
        ("failed", None, True),
        ("canceled", None, False),
        ("aborted", None, False),
        ("succeeded", None, False),
    ],
)
def test_predictions_that_end_without_a_picture(status, error, retry):
    failure = ended_without_picture({"status": status, "error": error})
    assert failure.retry is retry
    assert str(failure)


def replicate_answering(status, **answer) -> Replicate:
    """A client whose every call gets this one answer."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, **answer))
    return Replicate(httpx.AsyncClient(transport=transport), "http://x", SecretStr("t"))


@pytest.mark.parametrize(
    ("status", "options", "wait"),
    [
        (429, {"headers": {"Retry-After": "7"}}, 7.5),
        (429, {"json": {"detail": "throttled", "retry_after": 8}}, 8.5),
        (429, {"json": {"detail": "Request was throttled. Your rate limit resets in ~30s."}}, 30.5),
        (429, {"text": "busy"}, 10),
    ],
)
async def test_a_busy_provider_says_how_long_to_wait(status, options, wait):
    with pytest.raises(GenerationFailed) as busy:
        await replicate_answering(status, **options).get("p")
    assert (busy.value.retry, busy.value.retry_after_s) == (True, wait)


@pytest.mark.parametrize(
    ("status", "retry"), [(400, False), (401, False), (402, False), (422, False), (500, True)]
)
async def test_only_the_providers_own_trouble_is_tried_again(status, retry):
    with pytest.raises(GenerationFailed) as refused:
        await replicate_answering(status, text="why").create("a/b", None, {}, 60)
    assert refused.value.retry is retry
    assert str(refused.value) == f"Replicate API error ({status}): why"


@pytest.mark.parametrize(
    "data",
    [b"", b"<html><svg>", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8 ", b"GIF89a", b"\xff\xd8\xff"],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(GenerationFailed):
        inspect(data)
