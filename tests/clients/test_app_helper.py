"""The field variant's app: its own helper's calls by the real supabase-js, on its database upgraded in place."""

from collections.abc import Iterator

import pytest

from functions._local.defaults import SANDBOX_TOKEN
from scripts.schema import apply_schema
from tests.clients.node import VERSIONS, needs_node, run_node
from tests.conftest import PORT, QUICK_POLLS, Edge, running_edge
from tests.sql.help import USER
from tests.sql.originals import COMMON, FIELD, ROWS, database_of

pytestmark = [pytest.mark.slow, needs_node]


@pytest.fixture
def edge(admin, sandbox, tmp_path) -> Iterator[Edge]:
    """A gateway on a database of the field variant, upgraded, without jobs; its user is one of that database."""
    server = f"postgresql://postgres:postgres@127.0.0.1:{PORT}/postgres"
    with database_of(server, COMMON, FIELD, ROWS) as (url, connection):
        apply_schema(url)
        connection.execute("delete from job_queue")
        connection.execute(QUICK_POLLS)
        settings = {
            "EDGE_DATA_DIR": str(tmp_path / "data"),
            "SUPABASE_DB_URL": url,
            "REPLICATE_API_TOKEN": SANDBOX_TOKEN,
            "REPLICATE_API_URL": sandbox.url,
            "SERVE": "rest,storage",  # the users are another service's
        }
        with running_edge(**settings) as edge:
            edge.user_id = USER
            yield edge


@pytest.mark.parametrize("version", VERSIONS)
def test_the_apps_helper_call_by_call(edge: Edge, version):
    assert run_node("helper.mjs", edge, edge.user_token(), version) == {
        "columns": [],
        "job": ["generate-image", "pending", 0, 2, 0, "a fox"],
        "scheduled": True,
        "unknown": None,
        "started": [True, "string", "string", None],
        "done": ["completed", 1, None, None],
        "generation": "completed",
        "before": {"pending": 1, "completed": 1},
        "cancelled": ["cancelled", "completed"],
        "after": {"cancelled": 1, "completed": 1},
        "listed": [[True], 1, True],
        "failed": [],
    }
