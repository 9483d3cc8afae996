"""Fuzzing (hypothesis): no input is answered with a 5xx, no route shows one user another's data."""

import json
import string
from itertools import product
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.gateway.app import FUNCTIONS
from tests.conftest import Edge, user_token
from tests.help import BODY

# The gateway's jitter, in a thread of this process, draws from the generator that hypothesis watches.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Do not use the .random. module")]

FIELDS = [*BODY, "width", "seed", "num_outputs", "aspect_ratio", "webhook_url", "wait"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*BODY.values(), "16:9", "https://example.com", str(uuid4())]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
BODIES = (
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(FIELDS), VALUES).map(lambda body: json.dumps(body).encode())
    | st.dictionaries(st.sampled_from(FIELDS), VALUES).map(
        lambda body: json.dumps({**BODY, **body}).encode()
    )
)
PLAIN = st.text(string.ascii_letters + string.digits + " -_.:;=,/*\"'()[]{}", max_size=60)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "content-encoding",
            "idempotency-key",
            "x-request-id",
            "last-event-id",
            "x-region",
            "apikey",
            "authorization",
            "range",
            "accept",
        ]
    ),
    PLAIN,
)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = [
    "",
    "/",
    "/x",
    f"/{uuid4()}",
    f"/{uuid4()}/events",
    "/x/events",
    "/webhook",
    "/../x",
    "/%00",
]


@pytest.fixture
def edge(start_edge, monkeypatch) -> Edge:
    async def never(self: object) -> None:
        return None

    monkeypatch.setattr("functions.process_jobs.worker.Worker._claim_loop", never)
    return start_edge(AUTH_FAILURES_PER_MINUTE="0", ALLOW_ANON="false")


def sound(answer: httpx.Response) -> None:
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert answer.headers["access-control-allow-origin"] == "*"
    if answer.status_code >= 400:
        told = answer.json()
        assert told["error"] == told["message"] == told["msg"]


def tokens(edge: Edge, name: str) -> list[str]:
    if name in {"process-generation", "generate-image"}:
        return [edge.anon_key, "x.y.z"]  # good tokens would call the provider, which may fail
    return [edge.user_token(), edge.anon_key, edge.service_role_key, "x.y.z"]


@pytest.mark.parametrize("name", [*FUNCTIONS, "unknown"])
def test_no_route_method_or_token_is_answered_with_a_5xx(edge: Edge, name):
    for method, path, token in product(METHODS, PATHS, tokens(edge, name)):
        sound(edge.call(method, f"{name}{path}", token, content=b"{"))


@pytest.mark.parametrize("name", [*FUNCTIONS, "unknown"])
def test_no_body_or_header_is_answered_with_a_5xx(edge: Edge, name):
    url = f"{edge.url}/functions/v1/{name}"

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(token=st.sampled_from(tokens(edge, name)), body=BODIES, headers=HEADERS)
    def ask(token: str, body: bytes, headers: dict[str, str]) -> None:
        given = {"authorization": f"Bearer {token}", **headers}
        try:
            answer = edge.client.post(url, content=body, headers=given)
        except httpx.LocalProtocolError:
            return  # httpx refuses to send it
        sound(answer)

    ask()


def test_no_route_shows_one_user_what_is_anothers(edge: Edge, db):
    secret = f"a prompt of mine {uuid4()}"
    mine = edge.post("start-generation", {**BODY, "prompt": secret}).json()["generation_id"]
    others = user_token()
    for name in FUNCTIONS:
        for path in ("", f"/{mine}", f"/{mine}/events"):
            for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
                body = {**BODY, "generation_id": mine}
                answer = edge.call(method, f"{name}{path}", others, json=body)
                assert secret not in answer.text
                assert name == "start-generation" or answer.status_code in {403, 404, 405}
    row = db.execute("select status from image_generations where id = %s", (mine,)).fetchone()
    assert row == {"status": "queued"}
