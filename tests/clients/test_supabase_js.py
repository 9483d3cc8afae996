"""The real supabase-js, run by node, against a live gateway: what an app's own code gets to see."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.node import NEWEST, VERSIONS, needs_node, run_node
from tests.conftest import Edge
from tests.help import BODY

pytestmark = [pytest.mark.slow, needs_node]

Invoke = Callable[..., dict[str, Any]]


@pytest.fixture
def as_user() -> Callable[..., Invoke]:
    def client(edge: Edge, token: str | None = "", version: str = NEWEST) -> Invoke:
        token = edge.user_token() if token == "" else token

        def invoke(name: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
            call = {"name": name, "options": options or {}, **more}
            return run_node("invoke.mjs", edge, token, version, call)

        return invoke

    return client


@pytest.mark.parametrize("version", VERSIONS)
def test_a_picture_from_start_to_end(edge: Edge, as_user, version):
    invoke = as_user(edge, version=version)
    started = invoke("start-generation", {"body": BODY})
    assert started["error"] is None
    assert started["data"]["success"] is True
    name = f"start-generation/{started['data']['generation_id']}"
    while (row := invoke(name, {"method": "GET"})["data"])["status"] != "completed":
        assert row["status"] != "failed"
    assert row["images"][0]["public_url"].startswith(edge.url)
    assert invoke(name, {"method": "DELETE"})["data"]["status"] == "deleted"
    again = invoke(name, {"method": "DELETE"})["error"]
    assert (again["status"], again["body"]["code"]) == (404, "NOT_FOUND")
    nobody = as_user(edge, edge.user_token(exp=1), version)("start-generation", {"body": BODY})
    assert nobody["error"]["body"]["error"] == "JWT expired"


def test_the_blocking_function_answers_with_the_picture(edge: Edge, as_user):
    answer = as_user(edge)("generate-image", {"body": BODY})
    assert answer["error"] is None
    assert edge.client.get(answer["data"]["url"]).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"body": BODY, "region": "us-east-1"},
        {"body": json.dumps(BODY), "headers": {"Content-Type": "application/json"}},
        {"body": json.dumps(BODY)},
        {"body": BODY, "headers": {"x-region": "eu-west-1", "x-own": "1"}},
    ],
    ids=["a region", "text as JSON", "text", "headers of its own"],
)
def test_a_body_may_come_in_any_way_the_client_has(idle_edge: Edge, as_user, options):
    answer = as_user(idle_edge)("start-generation", options)
    assert answer["error"] is None, answer
    assert answer["data"]["status"] == "queued"


@pytest.mark.parametrize(
    ("call", "status", "code", "text"),
    [
        ({"options": {"body": {}}}, 400, "INVALID_REQUEST", "Prompt is required; Model ID is required"),
        ({"options": {}}, 400, "INVALID_REQUEST",
         "The request has no body: Prompt is required; Model ID is required"),
        ({"form": {"prompt": "x"}}, 400, "INVALID_REQUEST", "The body must be JSON, not multipart/form-data"),
        ({"options": {"method": "PUT", "body": BODY}}, 405, "METHOD_NOT_ALLOWED",
         "Method PUT is not allowed here"),
        ({"name": "unknown"}, 404, "NOT_FOUND", "Requested function was not found"),
        ({"name": "process-jobs"}, 403, "FORBIDDEN", "process-jobs is for the service role only"),
    ],
)  # fmt: skip
def test_a_refusal_reaches_the_app_as_a_http_error(
    idle_edge: Edge, as_user, call, status, code, text
):
    error = as_user(idle_edge)(**{"name": "start-generation", **call})["error"]
    assert (error["name"], error["status"]) == ("FunctionsHttpError", status)
    assert error["body"]["code"] == code
    assert error["body"]["error"] == error["body"]["message"] == error["body"]["msg"] == text


def test_a_bad_token_is_401(idle_edge: Edge, as_user):
    error = as_user(idle_edge, idle_edge.user_token(exp=1))("start-generation", {"body": BODY})[
        "error"
    ]
    assert (error["status"], error["body"]["code"]) == (401, "UNAUTHORIZED_JWT_EXPIRED")


def test_without_a_session_the_clients_key_is_sent(start_edge, as_user):
    edge = start_edge(ALLOW_ANON="true")
    assert as_user(edge, None)("start-generation", {"body": BODY})["error"] is None
    edge = start_edge(ALLOW_ANON="false")
    error = as_user(edge, None)("start-generation", {"body": BODY})["error"]
    assert (error["status"], error["body"]["error"]) == (401, "Unauthorized")
