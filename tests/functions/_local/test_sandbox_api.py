"""The sandbox beyond create and get: models, lists, files, waiting, deadlines, limits, webhooks, faults."""

import json
import queue
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions._local.defaults import SANDBOX_TOKEN
from functions._local.sandbox import faults as sandbox_faults
from functions._local.sandbox import upload_files
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Provider

SCHNELL = "black-forest-labs/flux-schnell"
CREATE = f"/models/{SCHNELL}/predictions"


@pytest.fixture
def api(sandbox: Provider) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {SANDBOX_TOKEN}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def slow(sandbox: Provider) -> Iterator[Any]:
    """Predictions take 50 s, so that a test decides when they are over."""
    sandbox.state.seconds = 50
    yield sandbox.state
    sandbox.state.seconds = 0


def create(api: httpx.Client, prompt: str = "a fox", **options: Any) -> httpx.Response:
    body = {"input": {"prompt": prompt}, **options.pop("body", {})}
    return api.post(CREATE, json=body, **options)


def test_a_model_with_its_version_and_schema(api):
    model = api.get("/models/stability-ai/sdxl").json()
    version = model["latest_version"]
    assert (model["owner"], model["name"], model["is_official"]) == ("stability-ai", "sdxl", False)
    assert "prompt" in version["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
    assert api.get(f"/models/stability-ai/sdxl/versions/{version['id']}").json() == version
    assert api.get("/models/stability-ai/sdxl/versions").json()["results"] == [version]
    assert api.get("/models/stability-ai/sdxl/versions/abc").status_code == 404
    assert api.get("/models/no/such").status_code == 404
    sent = {"version": version["id"], "input": {"prompt": "a fox"}}
    assert api.post("/predictions", json=sent).status_code == 201


def test_a_list_can_be_bounded_by_time(api):
    first, second = create(api).json(), create(api).json()
    after = api.get("/predictions", params={"created_after": second["created_at"]}).json()
    before = api.get("/predictions", params={"created_before": second["created_at"]}).json()
    assert [one["id"] for one in after["results"]] == [second["id"]]
    assert [one["id"] for one in before["results"]] == [first["id"]]
    assert api.get("/predictions", params={"created_after": "soon"}).status_code == 400


def test_files_are_kept_listed_and_deleted(api, monkeypatch):
    kept = api.post("/files", files={"content": ("a.png", b"abc", "image/png")}).json()
    assert (kept["name"], kept["content_type"], kept["size"]) == ("a.png", "image/png", 3)
    assert api.get(kept["urls"]["get"]).json() == kept
    assert api.get("/files").json()["results"] == [kept]
    assert api.delete(f"/files/{kept['id']}").status_code == 204
    assert api.get(kept["urls"]["get"]).status_code == 404
    assert api.post("/files", files={"other": b"x"}).status_code == 400
    monkeypatch.setattr(upload_files, "MAX_BYTES", 2)
    assert api.post("/files", files={"content": b"abc"}).status_code == 413


def test_an_input_file_that_is_gone_fails_the_prediction(api):
    address = f"{api.base_url}files/none"
    body = {"input": {"prompt": "x", "image": address}}
    made = api.post("/models/black-forest-labs/flux-dev/predictions", json=body).json()
    ended = api.get(f"/predictions/{made['id']}").json()
    assert (ended["status"], ended["error"]) == ("failed", "The input file could not be read")


def test_prefer_wait_holds_the_answer_until_the_end_or_the_time(api, slow):
    slow.seconds = 0.2
    assert create(api, headers={"Prefer": "wait"}).json()["status"] == "succeeded"
    slow.seconds = 50
    assert create(api, headers={"Prefer": "wait=1"}).json()["status"] == "starting"
    assert create(api, headers={"Prefer": "wait=61"}).status_code == 400


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("5m", 300), ("2h", 7200), ("1m30s", 90)]
)
def test_cancel_after_is_a_deadline(api, slow, text, seconds):
    made = create(api, headers={"Cancel-After": text}).json()
    prediction = slow.predictions[made["id"]]
    assert prediction.cancel_after == seconds
    assert made["deadline"] > made["created_at"]
    slow.predictions[made["id"]].seconds = 10_000
    prediction.created -= seconds + 1
    status = "aborted" if seconds < 2000 else "canceled"
    assert api.get(f"/predictions/{made['id']}").json()["status"] == status


@pytest.mark.parametrize("text", ["4", "25h", "soon", "-30"])
def test_a_deadline_out_of_bounds_is_refused(api, sandbox, text):
    assert create(api, headers={"Cancel-After": text}).status_code == 422
    assert not sandbox.state.predictions


def test_creates_above_the_limit_are_throttled_and_make_nothing(api, sandbox):
    sandbox.state.limit(6, 1)
    assert create(api).status_code == 201
    throttled = create(api)
    assert throttled.status_code == 429
    assert 9 <= throttled.json()["retry_after"] <= 10
    assert throttled.headers["retry-after"] == str(throttled.json()["retry_after"])
    assert "reduced to 6 requests per minute with a burst of 1" in throttled.json()["detail"]
    assert len(sandbox.state.predictions) == 1


@pytest.fixture
def receiver() -> Iterator[tuple[str, "queue.Queue[Any]", list[int]]]:
    """A webhook's other end: its address, the calls that come, the statuses it answers with (200 when none is left)."""
    calls: queue.Queue[Any] = queue.Queue()
    statuses: list[int] = []

    async def receive(request: Request) -> Response:
        calls.put((dict(request.headers), await request.body()))
        return Response(status_code=statuses.pop(0) if statuses else 200)

    app = Starlette(routes=[Route("/hook", receive, methods=["POST"])])
    with bound("127.0.0.1", free_port(), "receiver") as listener, serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook?job=1", calls, statuses


def test_a_webhook_is_signed_and_repeated_until_it_is_taken(api, sandbox, receiver):
    address, calls, statuses = receiver
    statuses += [500]
    body = {"webhook": address, "webhook_events_filter": ["completed"]}
    made = create(api, body=body).json()
    assert (made["webhook"], made["webhook_events_filter"]) == (address, ["completed"])
    calls.get(timeout=10)
    headers, text = calls.get(timeout=10)
    told = Webhook(sandbox.state.webhooks.secret).verify(text, headers)
    assert api.get("/webhooks/default/secret").json()["key"] == sandbox.state.webhooks.secret
    assert (told["id"], told["status"]) == (made["id"], "succeeded")
    assert told == api.get(f"/predictions/{made['id']}").json()


def test_without_a_filter_the_start_is_told_too(api, slow, receiver):
    address, calls, _ = receiver
    made = create(api, body={"webhook": address}).json()
    slow.predictions[made["id"]].created -= 20
    assert json.loads(calls.get(timeout=10)[1])["status"] == "processing"
    slow.predictions[made["id"]].created -= 50
    assert json.loads(calls.get(timeout=10)[1])["status"] == "succeeded"


@pytest.mark.parametrize("address", ["not an address", 7, "http://example.com/hook"])
def test_a_webhook_that_is_no_address_is_refused(api, sandbox, address):
    assert create(api, body={"webhook": address}).status_code == 422
    assert not sandbox.state.predictions


def test_a_fault_happens_once_as_often_as_asked_or_always(api):
    assert [create(api, "x [fault:busy-bare]").status_code for _ in range(2)] == [429, 201]
    assert [create(api, "y [fault:busy-bare*2]").status_code for _ in range(3)] == [429, 429, 201]
    assert {create(api, "z [fault:busy-bare*]").status_code for _ in range(4)} == {429}
    assert create(api, headers={"X-Sandbox-Fault": "no-credit"}).status_code == 402


def test_an_unknown_fault_is_refused_with_the_known_ones(api):
    answer = create(api, "x [fault:nothing]")
    assert answer.status_code == 400
    assert "busy-bare" in answer.json()["detail"]


def test_a_cut_breaks_the_connection(api, sandbox):
    with pytest.raises(httpx.RemoteProtocolError):
        create(api, "x [fault:cut-before]")
    assert not sandbox.state.predictions
    with pytest.raises(httpx.RemoteProtocolError):
        create(api, "x [fault:cut-after]")
    assert len(sandbox.state.predictions) == 1


def test_every_fault_is_in_the_readme():
    readme = Path(sandbox_faults.__file__).parent / "README.md"
    named = set(re.findall(r"^\| `([a-z0-9-]+)`", readme.read_text("utf-8"), re.MULTILINE))
    assert named == sandbox_faults.NAMES
