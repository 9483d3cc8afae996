"""The sandbox over a real socket, held against what is known of Replicate's API."""

import contextlib
import json
import re
import socket
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from io import BytesIO
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image

from functions._local.sandbox import app as sandbox_app
from functions._local.sandbox.app import Sandbox, create_sandbox
from functions._local.sandbox.drawing import draw
from functions._local.sandbox.picture_size import AREA_KEYS, picture_size
from functions._local.sandbox.validation import check
from functions._shared.image_models.catalog import CATALOG
from tests.help import eventually

pytestmark = pytest.mark.slow

TOKEN = "r8_of_the_sandbox"
SCHNELL = "black-forest-labs/flux-schnell"
SDXL = "stability-ai/sdxl"

SCHEMAS: dict[str, dict[str, Any]] = {
    data["model"]: data
    for data in (
        json.loads(file.read_text("utf-8"))
        for file in (files("functions._shared.image_models") / "schemas").iterdir()
        if file.name.endswith(".json")
    )
}
OFFICIAL = sorted(name for name, data in SCHEMAS.items() if data["official"] is True)
NOT_OFFICIAL = sorted(set(SCHEMAS) - set(OFFICIAL))
SCHNELL_HASH = SCHEMAS[SCHNELL]["version"]
SDXL_HASH = SCHEMAS[SDXL]["version"]


@dataclass
class Server:
    """A sandbox on a port of its own, and a client that has its token."""

    sandbox: Sandbox
    client: httpx.Client

    def create(self, given: object = None, version: str = SCHNELL, **more: object) -> Any:
        body = {"version": version, "input": given or {"prompt": "a fox"}, **more}
        return self.client.post("/v1/predictions", json=body)

    def get(self, prediction: Any) -> Any:
        return self.client.get(prediction["urls"]["get"]).json()

    def succeed(self, given: object, version: str = SCHNELL) -> Any:
        created = self.create(given, version)
        assert created.status_code == 201, created.text
        return self.get(created.json())

    def make_older(self, prediction: Any, seconds: float) -> None:
        self.sandbox.predictions[prediction["id"]].created -= seconds

    def refusals(self, given: object, version: str = SCHNELL) -> list[dict[str, str]]:
        answer = self.client.post("/v1/predictions", json={"version": version, "input": given})
        assert answer.status_code == 422, answer.text
        fields: list[dict[str, str]] = answer.json()["invalid_fields"]
        return fields


@contextlib.contextmanager
def running(seconds: float) -> Iterator[Server]:
    app = create_sandbox(token=TOKEN, seconds=seconds)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=30,
        ) as client:
            yield Server(app.state.sandbox, client)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def at_once() -> Iterator[Server]:
    with running(seconds=0) as server:
        yield server


@pytest.fixture(scope="module")
def slow() -> Iterator[Server]:
    """An hour from create to success: only ``make_older`` moves a prediction on."""
    with running(seconds=3600) as server:
        yield server


# The token


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer"])
def test_both_forms_of_the_token_are_accepted(at_once: Server, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {TOKEN}"}
    answer = at_once.client.get("/v1/account", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["username"] == "sandbox"


@pytest.mark.parametrize("value", ["", TOKEN, "Bearer", "Bearer r8_wrong", f"Basic {TOKEN}"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/account"),
        ("GET", "/v1/predictions"),
        ("POST", "/v1/predictions"),
        ("GET", "/v1/predictions/unknown"),
        ("POST", "/v1/predictions/unknown/cancel"),
        ("POST", f"/v1/models/{SCHNELL}/predictions"),
    ],
)
def test_every_api_route_refuses_a_wrong_token(
    at_once: Server, method: str, path: str, value: str
) -> None:
    answer = at_once.client.request(method, path, headers={"authorization": value})
    assert answer.status_code == 401
    assert answer.json() == {
        "title": "Unauthenticated",
        "detail": "You did not pass a valid authentication token",
        "status": 401,
    }


# Which model a create means


@pytest.mark.parametrize(
    ("reference", "model", "version"),
    [
        pytest.param(SCHNELL, SCHNELL, "hidden", id="official name"),
        pytest.param(SCHNELL_HASH, SCHNELL, SCHNELL_HASH, id="hash of an official model"),
        pytest.param(SDXL_HASH, SDXL, SDXL_HASH, id="hash of a community model"),
        pytest.param(f"{SDXL}:{SDXL_HASH}", SDXL, SDXL_HASH, id="name and hash"),
    ],
)
def test_version_names_the_model(at_once: Server, reference: str, model: str, version: str) -> None:
    created = at_once.create(version=reference).json()
    assert (created["model"], created["version"]) == (model, version)


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(SDXL, id="community name without a version"),
        pytest.param("0" * 64, id="unknown hash"),
        pytest.param(f"{SDXL}:{SCHNELL_HASH}", id="hash of another model"),
        pytest.param(f":{SDXL_HASH}", id="hash after a colon alone"),
        pytest.param("nobody/nothing", id="unknown name"),
        pytest.param("flux-schnell", id="alias"),
        pytest.param("", id="empty"),
    ],
)
def test_a_version_that_names_nothing_is_not_permitted(at_once: Server, reference: str) -> None:
    answer = at_once.create(version=reference)
    assert answer.status_code == 422
    assert answer.json() == {
        "title": "Invalid version or not permitted",
        "detail": "The specified version does not exist "
        "(or perhaps you don't have permission to use it?)",
        "status": 422,
    }


@pytest.mark.parametrize("model", OFFICIAL)
def test_official_models_have_a_path_of_their_own(at_once: Server, model: str) -> None:
    body = {"input": minimal_input(model)}
    answer = at_once.client.post(f"/v1/models/{model}/predictions", json=body)
    assert answer.status_code == 201
    assert (answer.json()["model"], answer.json()["version"]) == (model, "hidden")


@pytest.mark.parametrize("model", [*NOT_OFFICIAL, "nobody/nothing"])
def test_other_models_are_not_found_on_the_official_path(at_once: Server, model: str) -> None:
    body = {"input": {"prompt": "a fox"}}
    answer = at_once.client.post(f"/v1/models/{model}/predictions", json=body)
    assert answer.status_code == 404
    assert answer.json() == {
        "detail": "The requested resource could not be found.",
        "status": 404,
    }


# The prediction object


def test_the_create_answer_is_a_starting_prediction(slow: Server) -> None:
    answer = slow.create({"prompt": "a fox", "seed": 7, "guidance": 3})
    created = answer.json()
    base = str(slow.client.base_url)
    assert answer.status_code == 201
    assert answer.headers["location"] == created["urls"]["get"]
    assert re.fullmatch("[a-z2-7]{26}", created["id"])
    assert datetime.fromisoformat(created["created_at"]).tzinfo is not None
    assert created == {
        "id": created["id"],
        "model": SCHNELL,
        "version": "hidden",
        "status": "starting",
        "input": {
            "prompt": "a fox",
            "aspect_ratio": "1:1",
            "num_outputs": 1,
            "num_inference_steps": 4,
            "output_format": "webp",
            "output_quality": 80,
            "disable_safety_checker": False,
            "go_fast": True,
            "megapixels": "1",
            "seed": 7,
            "guidance": 3,  # not a key of this model: kept, without effect
        },
        "output": None,
        "error": None,
        "logs": "",
        "source": "api",
        "data_removed": False,
        "created_at": created["created_at"],
        "urls": {
            "get": f"{base}/v1/predictions/{created['id']}",
            "cancel": f"{base}/v1/predictions/{created['id']}/cancel",
        },
    }
    assert slow.get(created) == created


def test_addresses_follow_the_host_the_client_used(at_once: Server) -> None:
    host = f"localhost:{at_once.client.base_url.port}"
    body = {"version": SCHNELL, "input": {"prompt": "a fox"}}
    answer = at_once.client.post("/v1/predictions", json=body, headers={"host": host})
    assert answer.json()["urls"]["get"].startswith(f"http://{host}/v1/predictions/")


def test_a_prediction_starts_runs_and_succeeds_by_the_clock(slow: Server) -> None:
    prediction = slow.create({"prompt": "a fox", "seed": 7}).json()
    slow.make_older(prediction, 600)
    assert slow.get(prediction)["status"] == "starting"

    slow.make_older(prediction, 130)
    running_now = slow.get(prediction)
    assert (running_now["status"], running_now["output"]) == ("processing", None)
    assert running_now["logs"].startswith("Using seed: 7\n")
    assert "started_at" in running_now
    assert not {"completed_at", "metrics"} & set(running_now)

    slow.make_older(prediction, 3000)
    done = slow.get(prediction)
    assert (done["status"], done["error"], done["data_removed"]) == ("succeeded", None, False)
    assert done["metrics"] == {"predict_time": 2880.0, "total_time": 3600.0}
    created, started, completed = (
        datetime.fromisoformat(done[f"{moment}_at"])
        for moment in ("created", "started", "completed")
    )
    assert (started - created).total_seconds() == 720
    assert (completed - created).total_seconds() == 3600


def test_nothing_but_time_is_needed_to_succeed() -> None:
    with running(seconds=0.3) as server:
        prediction = server.create().json()
        eventually(lambda: server.get(prediction)["status"] == "succeeded")


def test_without_seconds_the_first_look_finds_the_success(at_once: Server) -> None:
    created = at_once.create().json()
    assert (created["status"], created["output"]) == ("starting", None)
    assert at_once.get(created)["status"] == "succeeded"


def test_an_unknown_prediction_is_not_found(at_once: Server) -> None:
    for answer in (
        at_once.client.get("/v1/predictions/unknown"),
        at_once.client.post("/v1/predictions/unknown/cancel"),
        at_once.client.get("/v1/nothing"),
        at_once.client.get("/output/unknown/output.png"),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"] == "The requested resource could not be found."


def test_a_wrong_method_is_refused_as_json(at_once: Server) -> None:
    answer = at_once.client.delete("/v1/predictions")
    assert answer.status_code == 405
    assert answer.json() == {"detail": "Method Not Allowed", "status": 405}


# Cancel


@pytest.mark.parametrize(
    ("age", "metrics"),
    [
        pytest.param(0, {"total_time"}, id="before the run"),
        pytest.param(1000, {"total_time", "predict_time"}, id="during the run"),
    ],
)
def test_cancel_ends_a_prediction_for_good(slow: Server, age: float, metrics: set[str]) -> None:
    prediction = slow.create().json()
    slow.make_older(prediction, age)
    answer = slow.client.post(prediction["urls"]["cancel"])
    canceled = answer.json()
    assert (answer.status_code, canceled["status"], canceled["output"]) == (200, "canceled", None)
    assert set(canceled["metrics"]) == metrics
    assert ("started_at" in canceled) == ("predict_time" in metrics)
    assert slow.get(prediction) == canceled
    assert slow.client.post(prediction["urls"]["cancel"]).json() == canceled


def test_cancel_leaves_a_success_as_it_is(at_once: Server) -> None:
    done = at_once.succeed({"prompt": "a fox"})
    assert at_once.client.post(done["urls"]["cancel"]).json() == done


# What is refused


def test_all_failures_come_together_in_replicates_words(at_once: Server) -> None:
    body = {"version": SCHNELL, "input": {"num_inference_steps": 30, "output_format": "gif"}}
    answer = at_once.client.post("/v1/predictions", json=body)
    steps = "Must be less than or equal to 4"
    words = 'output_format must be one of the following: "webp", "jpg", "png"'
    assert answer.status_code == 422
    assert answer.json() == {
        "title": "Input validation failed",
        "status": 422,
        "detail": "- input: prompt is required\n"
        f"- input.num_inference_steps: {steps}\n"
        f"- input.output_format: {words}\n",
        "invalid_fields": [
            {"type": "required", "field": "input", "description": "prompt is required"},
            {"type": "number_lte", "field": "input.num_inference_steps", "description": steps},
            {"type": "enum", "field": "input.output_format", "description": words},
        ],
    }


@pytest.mark.parametrize(
    ("given", "kind", "description"),
    [
        pytest.param(
            {"num_outputs": 0}, "number_gte", "Must be greater than or equal to 1", id="too small"
        ),
        pytest.param(
            {"num_outputs": 5}, "number_lte", "Must be less than or equal to 4", id="too large"
        ),
        pytest.param(
            {"seed": None},
            "invalid_type",
            "Invalid type. Expected: integer, given: null",
            id="null for an optional key",
        ),
        pytest.param(
            {"num_outputs": "2"},
            "invalid_type",
            "Invalid type. Expected: integer, given: string",
            id="a number in a string",
        ),
        pytest.param(
            {"num_outputs": 1.5},
            "invalid_type",
            "Invalid type. Expected: integer, given: number",
            id="a fraction for an integer",
        ),
        pytest.param(
            {"num_outputs": True},
            "invalid_type",
            "Invalid type. Expected: integer, given: boolean",
            id="a boolean for an integer",
        ),
        pytest.param(
            {"go_fast": 1},
            "invalid_type",
            "Invalid type. Expected: boolean, given: integer",
            id="an integer for a boolean",
        ),
        pytest.param(
            {"aspect_ratio": ["1:1"]},
            "invalid_type",
            "Invalid type. Expected: string, given: array",
            id="the wrong type for an enum is named once",
        ),
        pytest.param(
            {"megapixels": "2"},
            "enum",
            'megapixels must be one of the following: "1", "0.25"',
            id="a word outside the enum",
        ),
    ],
)
def test_one_bad_value_is_named(
    at_once: Server, given: dict[str, Any], kind: str, description: str
) -> None:
    expected = {"type": kind, "field": f"input.{next(iter(given))}", "description": description}
    assert at_once.refusals({"prompt": "a fox", **given}) == [expected]


def test_an_address_needs_a_scheme(at_once: Server) -> None:
    model = "bytedance/seedream-4"
    given = {"prompt": "a fox", "image_input": ["https://example.org/a.png", "a.png"]}
    assert at_once.refusals(given, model) == [
        {
            "type": "format",
            "field": "input.image_input.1",
            "description": "Does not match format 'uri'",
        }
    ]
    given["image_input"] = ["data:image/png;base64,AAAA"]
    assert at_once.create(given, model).status_code == 201


def test_every_missing_key_is_named_once(at_once: Server) -> None:
    fields = at_once.refusals({}, "openai/gpt-image-1")
    assert [field["description"] for field in fields] == [
        "openai_api_key is required",
        "prompt is required",
    ]


@pytest.mark.parametrize(
    ("schema", "value", "kind", "description"),
    [
        ({"multipleOf": 32}, 100, "multiple_of", "Must be a multiple of 32"),
        ({"maxItems": 1}, [1, 2], "maxItems", "[1, 2] is too long"),
        ({"type": "string"}, {}, "invalid_type", "Invalid type. Expected: string, given: object"),
    ],
)
def test_keywords_beyond_todays_schemas(
    schema: dict[str, Any], value: object, kind: str, description: str
) -> None:
    whole = {"properties": {"key": schema}}
    assert check(whole, {"key": value}) == [
        {"type": kind, "field": "key", "description": description}
    ]


def test_a_whole_number_with_a_point_is_an_integer(at_once: Server) -> None:
    fields = at_once.refusals({"prompt": 2.0})
    assert fields[0]["description"] == "Invalid type. Expected: string, given: integer"
    assert at_once.create({"prompt": "a fox", "num_outputs": 2.0}).status_code == 201


def test_unknown_input_keys_pass_and_do_nothing(at_once: Server) -> None:
    given = {"prompt": "a fox", "num_outputs": 3, "output_format": "png", "seed": "seven"}
    done = at_once.succeed(given, "recraft-ai/recraft-v3")
    assert done["input"]["seed"] == "seven"
    assert isinstance(done["output"], str)
    assert done["output"].endswith(".webp")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"input": {"prompt": "a fox"}}, "- version is required\n"),
        ({"version": SCHNELL}, "- input is required\n"),
        ({}, "- version is required\n- input is required\n"),
        (
            {"version": SCHNELL, "input": {}, "model": SCHNELL, "wait": 5},
            "- Additional property model is not allowed\n"
            "- Additional property wait is not allowed\n"
            "- input: prompt is required\n",
        ),
        (
            {"version": 7, "input": "a fox"},
            "- version: Invalid type. Expected: string, given: integer\n"
            "- input: Invalid type. Expected: object, given: string\n",
        ),
        ([], "- Invalid type. Expected: object, given: array\n"),
        (None, "- Invalid type. Expected: object, given: null\n"),
    ],
)
def test_the_keys_around_the_input_are_checked(at_once: Server, body: object, detail: str) -> None:
    content = json.dumps(body)
    answer = at_once.client.post("/v1/predictions", content=content)
    assert (answer.status_code, answer.json()["title"]) == (422, "Input validation failed")
    assert sorted(answer.json()["detail"].splitlines()) == sorted(detail.splitlines())


def test_an_additional_property_has_no_field(at_once: Server) -> None:
    answer = at_once.create(model=SCHNELL)
    assert answer.json()["invalid_fields"] == [
        {
            "type": "additional_property_not_allowed",
            "field": "",
            "description": "Additional property model is not allowed",
        }
    ]


def test_the_official_path_takes_no_version(at_once: Server) -> None:
    body = {"version": SCHNELL_HASH, "input": {"prompt": "a fox"}}
    answer = at_once.client.post(f"/v1/models/{SCHNELL}/predictions", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "- Additional property version is not allowed\n"


def test_replicates_own_top_level_keys_are_accepted(at_once: Server) -> None:
    answer = at_once.create(
        webhook="https://example.org/hook", webhook_events_filter=["completed"], stream=False
    )
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"version":', id="cut off"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b'{"input": {"prompt": "\\ud800"}}', id="half a surrogate pair"),
        pytest.param(b'{"input": {"guidance": NaN}}', id="not a number"),
        pytest.param(b'{"input": {"guidance": 1e999}}', id="more than a float holds"),
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
def test_a_body_that_is_not_json_is_a_400(at_once: Server, content: bytes) -> None:
    answer = at_once.client.post("/v1/predictions", content=content)
    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    assert answer.json()["detail"].startswith("Failed to parse request body as JSON: ")


def test_a_refused_create_leaves_nothing_behind(at_once: Server) -> None:
    before = len(at_once.sandbox.predictions)
    at_once.refusals({})
    at_once.create(version=SDXL)
    assert len(at_once.sandbox.predictions) == before


# The memory


def test_the_newest_come_first_a_hundred_at_most() -> None:
    with running(seconds=0) as server:
        ids = [server.create().json()["id"] for _ in range(102)]
        page = server.client.get("/v1/predictions").json()
        rest = server.client.get(page["next"]).json()
        assert list(server.sandbox.predictions) == ids
        assert server.client.get(rest["previous"]).json()["results"] == page["results"]
    assert (page["previous"], rest["next"]) == (None, None)
    assert [prediction["id"] for prediction in rest["results"]] == ids[1::-1]
    assert [prediction["id"] for prediction in page["results"]] == ids[:-101:-1]
    assert page["results"][0]["status"] == "succeeded"


def test_the_oldest_finished_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_app, "KEPT_PREDICTIONS", 3)
    with running(seconds=3600) as server:
        first, second, third = (server.create().json() for _ in range(3))
        server.make_older(second, 4000)
        fourth = server.create().json()
        assert list(server.sandbox.predictions) == [first["id"], third["id"], fourth["id"]]
        server.create()
        assert len(server.sandbox.predictions) == 4, "unfinished ones are never dropped"


# The pictures


def minimal_input(model: str) -> dict[str, str]:
    words = {"prompt": "a fox", "openai_api_key": "sk-none"}
    return {key: words[key] for key in SCHEMAS[model]["input"]["required"]}


def reference(model: str) -> str:
    return model if model in OFFICIAL else SCHEMAS[model]["version"]


@pytest.mark.parametrize("model", sorted(SCHEMAS))
def test_a_minimal_input_yields_the_declared_output(at_once: Server, model: str) -> None:
    created = at_once.client.post(
        "/v1/predictions", json={"version": reference(model), "input": minimal_input(model)}
    )
    assert created.status_code == 201, created.text
    done = at_once.get(created.json())
    declared = SCHEMAS[model]["output"]
    if declared["shape"] == "array-of-uri":
        assert isinstance(done["output"], list)
        (address,) = done["output"]
    else:
        address = done["output"]
        assert isinstance(address, str)
    ending = declared["format_default"]
    assert address.endswith(f".{ending}")

    answer = httpx.get(address)  # no token: the delivery host asks for none
    kind = {"jpg": "jpeg", "svg": "svg+xml"}.get(ending, ending)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{kind}"
    assert int(answer.headers["content-length"]) == len(answer.content)
    if ending == "svg":
        assert ET.fromstring(answer.content).get("width") == "1024"  # noqa: S314 - ours
    else:
        picture = Image.open(BytesIO(answer.content))
        picture.load()
        assert picture.format == kind.upper()
        read = {k: v for k, v in done["input"].items() if k in properties(model)}
        assert picture.size == picture_size(read)


def properties(model: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMAS[model]["input"]["properties"]
    return found


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (SCHNELL, "num_outputs"),
        ("openai/gpt-image-1", "number_of_images"),
        ("minimax/image-01", "number_of_images"),
    ],
)
def test_as_many_pictures_as_asked_for_all_different(at_once: Server, model: str, key: str) -> None:
    done = at_once.succeed({**minimal_input(model), key: 3}, model)
    assert len({at_once.client.get(address).content for address in done["output"]}) == 3


@pytest.mark.parametrize(("series", "count"), [("auto", 4), ("disabled", 1)])
def test_max_images_counts_only_in_a_series(at_once: Server, series: str, count: int) -> None:
    given = {"prompt": "a fox", "max_images": 4, "sequential_image_generation": series}
    assert len(at_once.succeed(given, "bytedance/seedream-4")["output"]) == count


@pytest.mark.parametrize(
    ("model", "given", "size"),
    [
        (SCHNELL, {}, (1024, 1024)),
        (SCHNELL, {"aspect_ratio": "16:9"}, (1360, 768)),
        (SCHNELL, {"aspect_ratio": "9:16"}, (768, 1360)),
        (SCHNELL, {"megapixels": "0.25"}, (512, 512)),
        (SCHNELL, {"width": 640, "height": 480}, (1024, 1024)),
        (SDXL, {"width": 640, "height": 480}, (640, 480)),
        (SDXL, {"width": 0, "height": 100_000}, (64, 4096)),
        ("black-forest-labs/flux-1.1-pro", {"width": 640, "height": 480}, (1024, 1024)),
        (
            "black-forest-labs/flux-1.1-pro",
            {"aspect_ratio": "custom", "width": 640, "height": 480},
            (640, 480),
        ),
        ("black-forest-labs/flux-2-pro", {"resolution": "2 MP"}, (1456, 1456)),
        ("bytedance/seedream-3", {}, (1360, 768)),
        ("bytedance/seedream-3", {"size": "small", "aspect_ratio": "1:1"}, (512, 512)),
        ("bytedance/seedream-4", {}, (2048, 2048)),
        ("bytedance/seedream-4", {"size": "1K", "aspect_ratio": "3:2"}, (1248, 832)),
        ("bytedance/seedream-4", {"size": "custom", "width": 1111, "height": 1024}, (1111, 1024)),
        ("google/imagen-4", {"image_size": "2K"}, (2048, 2048)),
        ("google/nano-banana-pro", {"resolution": "1K"}, (1024, 1024)),
        ("ideogram-ai/ideogram-v3-turbo", {"aspect_ratio": "1:3"}, (592, 1776)),
        (
            "ideogram-ai/ideogram-v3-turbo",
            {"resolution": "736x1312", "aspect_ratio": "16:9"},
            (736, 1312),
        ),
        ("recraft-ai/recraft-v3", {"size": "1365x1024"}, (1365, 1024)),
        ("recraft-ai/recraft-v3", {"size": "1365x1024", "aspect_ratio": "1:1"}, (1024, 1024)),
    ],
)
def test_the_picture_has_the_size_the_model_would_give(
    at_once: Server, model: str, given: dict[str, Any], size: tuple[int, int]
) -> None:
    done = at_once.succeed({"prompt": "a fox", **given}, reference(model))
    address = done["output"] if isinstance(done["output"], str) else done["output"][0]
    assert Image.open(BytesIO(at_once.client.get(address).content)).size == size


@pytest.mark.parametrize("image_format", ["webp", "jpg", "png"])
def test_the_format_is_the_one_asked_for(at_once: Server, image_format: str) -> None:
    done = at_once.succeed({"prompt": "a fox", "output_format": image_format})
    assert done["output"][0].endswith(f"/out-0.{image_format}")
    picture = Image.open(BytesIO(at_once.client.get(done["output"][0]).content))
    assert picture.format == {"jpg": "JPEG"}.get(image_format, image_format.upper())


def test_gpt_image_spells_jpeg_in_full(at_once: Server) -> None:
    given = {**minimal_input("openai/gpt-image-1"), "output_format": "jpeg"}
    address = at_once.succeed(given, "openai/gpt-image-1")["output"][0]
    assert address.endswith(".jpeg")
    assert at_once.client.get(address).headers["content-type"] == "image/jpeg"


def test_the_same_seed_prompt_and_model_make_the_same_picture(at_once: Server) -> None:
    def picture(model: str = SCHNELL, **given: object) -> bytes:
        done = at_once.succeed({"prompt": "a fox", "seed": 7, **given}, model)
        return at_once.client.get(done["output"][0]).content

    first = picture()
    at_once.sandbox.pictures.draw.cache_clear()
    assert picture() == first
    assert first not in (
        picture(seed=8),
        picture(prompt="a crow"),
        picture("black-forest-labs/flux-dev"),
    )


def test_without_a_seed_one_is_drawn_and_named(at_once: Server) -> None:
    done, other = (at_once.succeed({"prompt": "a fox"}) for _ in range(2))
    assert "seed" not in done["input"]
    assert done["logs"] != other["logs"]
    seed = re.match(r"Using seed: (\d+)\n", done["logs"])
    assert seed is not None
    again = at_once.succeed({"prompt": "a fox", "seed": int(seed[1])})
    pictures = [at_once.client.get(each["output"][0]).content for each in (done, done, again)]
    assert pictures[0] == pictures[1] == pictures[2]


def test_a_default_seed_is_a_seed(at_once: Server) -> None:
    model = "bytedance/sdxl-lightning-4step"
    logs = at_once.succeed({"prompt": "a fox"}, reference(model))["logs"]
    assert logs.startswith("Using seed: 0\n")
    assert "100%" in logs


def test_there_is_no_file_before_the_success(slow: Server) -> None:
    prediction = slow.create().json()
    address = f"/output/{prediction['id']}/out-0.webp"
    assert slow.client.get(address).status_code == 404
    slow.make_older(prediction, 4000)
    assert slow.client.get(address).status_code == 200
    assert slow.client.get(address.replace("out-0", "out-1")).status_code == 404


PROMPTS: list[Any] = [
    pytest.param("", id="empty"),
    pytest.param("a fox " * 1000, id="long"),
    pytest.param("W" * 2000, id="one long word"),
    pytest.param("naïve café — 漢字 🦊\n\ttab \x00 and \u202e mark", id="beyond the font"),
    pytest.param("</text><script>&amp;\"'", id="markup"),
]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("size", [(64, 64), (256, 2048), (2048, 256)])
def test_any_prompt_can_be_drawn(prompt: str, size: tuple[int, int]) -> None:
    width, height = size
    file = draw(
        prompt=prompt, model=SCHNELL, seed=-1, width=width, height=height, image_format="png"
    )
    assert Image.open(BytesIO(file)).size == size


@pytest.mark.parametrize("prompt", PROMPTS)
def test_any_prompt_is_sound_svg(at_once: Server, prompt: str) -> None:
    done = at_once.succeed({"prompt": prompt}, "recraft-ai/recraft-v3-svg")
    root = ET.fromstring(at_once.client.get(done["output"]).content)  # noqa: S314 - ours
    texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-1] == "sandbox · recraft-ai/recraft-v3-svg"
    if prompt and len(prompt) < 100:
        shown = "".join("".join(texts[:-1]).split())
        assert shown == "".join(c for c in prompt if c.isprintable() and c != " ")


def test_a_megapixel_is_drawn_quickly() -> None:
    def cpu_seconds(action: Callable[[], object]) -> float:
        before = time.thread_time()
        action()
        return time.thread_time() - before

    def one() -> bytes:
        return draw(
            prompt="a fox asleep in the snow " * 4,
            model=SCHNELL,
            seed=7,
            width=1024,
            height=1024,
            image_format="webp",
        )

    assert min(cpu_seconds(one) for _ in range(3)) < 0.15


def test_each_size_key_of_a_request_is_one_of_the_sandboxes():
    used = {key for model in CATALOG.values() for key in model.meaning.size_keys}
    assert set(AREA_KEYS) == used - {"aspect_ratio"}
