"""Database outage: 503 with Retry-After while it lasts, recovery without a restart."""

import tempfile
from pathlib import Path

import pytest

from scripts.postgres import cluster, free_port
from scripts.schema import apply_schema
from tests.conftest import running_edge

BODY = {
    "prompt": "a cat",
    "model_id": "black-forest-labs/flux-schnell",
    "width": 256,
    "height": 256,
}


@pytest.fixture
def own_server():
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        server = cluster(Path(folder), free_port())
        server.start(["fsync=off"])
        apply_schema(server.url)
        yield server
        server.stop("immediate")


def test_the_gateway_recovers_by_itself(own_server, environ):
    environ["SUPABASE_DB_URL"] = own_server.url
    with running_edge(**environ) as edge:
        generation_id = edge.post("start-generation", BODY).json()["generation_id"]
        own_server.stop("immediate")
        for function, token in [("start-generation", ""), ("process-jobs", edge.service_role_key)]:
            answer = edge.post(function, BODY, token)
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["retry-after"]) > 0
        assert edge.post("generate-image", BODY).status_code == 200, "the rollback target"
        assert edge.client.get(f"{edge.url}/health").status_code == 200
        assert edge.post("start-generation", {}).status_code == 400, "needs no database"

        own_server.start(["fsync=off"])
        while edge.post("start-generation", BODY).status_code != 200:
            pass
        while edge.get(f"start-generation/{generation_id}").json()["status"] != "completed":
            pass


def test_a_gateway_starts_before_its_database(own_server, environ):
    environ["SUPABASE_DB_URL"] = own_server.url
    own_server.stop()
    with running_edge(**environ) as edge:
        assert edge.post("start-generation", BODY).status_code == 503
        own_server.start(["fsync=off"])
        while edge.post("start-generation", BODY).status_code != 200:
            pass
