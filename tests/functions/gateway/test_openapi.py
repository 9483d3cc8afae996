"""The OpenAPI document matches the routes, and the responses to requests generated from it (schemathesis)."""

from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from functions._shared.web.openapi import SHARED_SCHEMAS
from functions.gateway.app import FUNCTIONS
from functions.gateway.openapi import document
from tests.conftest import Edge
from tests.help import SCHNELL

ENTRIES = [function.entry for function in FUNCTIONS.values()]
PATHS = document("", ENTRIES)["paths"]
OPERATIONS = [(path, method) for path, methods in PATHS.items() for method in methods]
ASKED = [operation for operation in OPERATIONS if operation != ("/openapi.json", "get")]
"""All but the document itself, which takes no input."""


@pytest.fixture
def edge(start_edge, monkeypatch) -> Edge:
    async def never(self: object) -> None:
        return None

    monkeypatch.setattr("functions.process_jobs.worker.Worker._claim_loop", never)
    monkeypatch.setattr("functions.process_generation.blocking.POLL_FIRST_S", 0.01)
    return start_edge(AUTH_FAILURES_PER_MINUTE="0", ALLOW_ANON="false")


def test_it_names_every_route_and_no_other():
    routes = {
        (route.path, method.lower())
        for function in FUNCTIONS.values()
        for route in function.app.routes
        for method in route.methods - {"HEAD"}
    }
    assert routes | {("/openapi.json", "get")} == set(OPERATIONS)


def test_a_function_is_described_in_its_own_folders_entry():
    for name, function in FUNCTIONS.items():
        assert {route.path for route in function.app.routes} <= set(function.entry.paths)
        assert {route.path.split("/")[1] for route in function.app.routes} == {name}


def test_no_schema_of_one_entry_replaces_anothers():
    entries = {id(entry): entry for entry in ENTRIES}.values()
    names = [
        name for schemas in (SHARED_SCHEMAS, *(e.schemas for e in entries)) for name in schemas
    ]
    assert len(names) == len(set(names))


def test_anybody_may_read_it(idle_edge: Edge):
    answer = idle_edge.get("openapi.json", None)
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": f"{idle_edge.url}/functions/v1"}]
    prompt = document["components"]["schemas"]["StartRequest"]["properties"]["prompt"]
    assert [one["type"] for one in prompt["anyOf"]] == ["string", "array"]


# The gateway's jitter, in a thread of this process, draws from the generator that hypothesis watches.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module")
@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), ASKED)
def test_answers_are_what_it_says(edge: Edge, path: str, method: str, mode: GenerationMode):
    document = httpx.get(f"{edge.url}/functions/v1/openapi.json").json()
    operation = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())[path][method]
    token = edge.service_role_key if "service" in PATHS[path][method]["tags"] else edge.user_token()

    # schemathesis loads a profile of its own, with a deadline.
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(mode))
    def ask(case: schemathesis.Case) -> None:
        if mode.is_positive and isinstance(case.body, dict) and "model_id" in case.body:
            # Constraints beyond the schema: the models that exist, and what they take; an Idempotency-Key is for one
            # body.
            case.body["model_id"] = SCHNELL
            if case.body.get("input"):
                case.body["input"] = {"go_fast": False}
            case.headers["Idempotency-Key"] = str(uuid4())
        case.call_and_validate(
            base_url=f"{edge.url}/functions/v1",
            headers={"Authorization": f"Bearer {token}"},
        )

    ask()
