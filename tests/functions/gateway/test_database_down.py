"""Database outage: 503 with Retry-After while it lasts, recovery without a restart."""

import tempfile
from pathlib import Path

import pytest

from scripts.postgres import cluster, free_port
from scripts.schema import apply_schema
from tests.conftest import running_edge
from tests.help import SMALL, eventually, until_ended

pytestmark = pytest.mark.slow


@pytest.fixture
def own_server():
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        server = cluster(Path(folder), free_port())
        server.start(["fsync=off"])
        apply_schema(server.url)
        yield server
        server.stop("immediate")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """After a second without a connection the database is down; what ran meanwhile is retried after 2 s."""
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 2)
    monkeypatch.setattr("functions._shared.database.pool.POOL_WAIT_S", 1)
    monkeypatch.setattr("functions._shared.database.listener.RETRY_MOST_S", 0.5)


def test_the_gateway_recovers_by_itself(own_server, environ):
    environ["SUPABASE_DB_URL"] = own_server.url
    with running_edge(**environ) as edge:
        generation_id = edge.post("start-generation", SMALL).json()["generation_id"]
        own_server.stop("immediate")
        for function, token in [("start-generation", ""), ("process-jobs", edge.service_role_key)]:
            answer = edge.post(function, SMALL, token)
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["retry-after"]) > 0
        assert edge.post("generate-image", SMALL).status_code == 200, "the rollback target"
        assert edge.client.get(f"{edge.url}/health").status_code == 200
        assert edge.post("start-generation", {}).status_code == 400, "needs no database"

        own_server.start(["fsync=off"])
        eventually(lambda: edge.post("start-generation", SMALL).status_code == 200)
        assert until_ended(edge, generation_id)["status"] == "completed"


def test_a_picture_is_stored_and_shown_meanwhile_and_is_an_object_afterwards(own_server, environ):
    """By the service role alone: whether anybody else may is the database's to say."""
    environ["SUPABASE_DB_URL"] = own_server.url
    with running_edge(**environ) as edge:
        address = f"{edge.url}/storage/v1/object"

        def put(token: str, **headers: str) -> int:
            headers |= {"Authorization": f"Bearer {token}", "content-type": "image/png"}
            url = f"{address}/generated-images/user/a.png"
            return edge.client.post(url, content=b"picture", headers=headers).status_code

        own_server.stop("immediate")
        assert put(edge.user_token()) == 503
        assert put(edge.service_role_key) == 200
        assert put(edge.service_role_key) == 400, "it is there"
        assert put(edge.service_role_key, **{"x-upsert": "true"}) == 200
        shown = edge.client.get(f"{address}/public/generated-images/user/a.png")
        assert (shown.status_code, shown.content) == (200, b"picture")
        assert "sandbox" in shown.headers["content-security-policy"]
        assert edge.client.get(f"{address}/public/generated-images/b.png").status_code == 503

        own_server.start(["fsync=off"])
        info = f"{address}/info/public/generated-images/user/a.png"
        eventually(lambda: edge.client.get(info).status_code == 200)
        shown = edge.client.get(f"{address}/public/generated-images/user/a.png")
        assert (shown.status_code, shown.content) == (200, b"picture")


def test_a_gateway_starts_before_its_database(own_server, environ):
    environ["SUPABASE_DB_URL"] = own_server.url
    own_server.stop()
    with running_edge(**environ) as edge:
        assert edge.post("start-generation", SMALL).status_code == 503
        own_server.start(["fsync=off"])
        eventually(lambda: edge.post("start-generation", SMALL).status_code == 200)
