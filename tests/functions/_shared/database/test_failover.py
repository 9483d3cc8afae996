"""A failover behind an address that moves: open sessions stay on the standby, and must not stay in use."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from functions._local.defaults import SANDBOX_TOKEN
from functions._shared.database.schema import READ_ONLY
from scripts.chaos.proxy import Proxy, proxied
from scripts.postgres import Postgres, cluster, free_port
from scripts.schema import apply_schema
from tests.conftest import Edge, Provider, running_edge
from tests.help import SMALL, eventually, start, until_ended

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def primary() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        server = cluster(Path(folder), free_port())
        server.start(["fsync=off"])
        apply_schema(server.url)
        yield server
        server.stop("immediate")


@pytest.fixture(scope="module")
def standby(primary: Postgres) -> Iterator[Postgres]:
    """A hot standby of ``primary``, by streaming replication."""
    server = Postgres(
        primary.bin, primary.data.with_name("standby"), free_port(), user=primary.user
    )
    server._make_folder()
    copied = server.run(
        "pg_basebackup", "-D", str(server.data), "-R", "-c", "fast", "-d", primary.url
    )
    assert copied.returncode == 0, copied.stderr
    options = f"-c port={server.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={server.data}"
    started = server.run(
        "pg_ctl", "-D", str(server.data), "-l", str(server.data / "server.log"), "-w", "-o", options, "start"
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    yield server
    server.stop("immediate")


@pytest.fixture
def address(primary: Postgres) -> Iterator[Proxy]:
    with proxied(primary.port) as proxy:
        yield proxy


@pytest.fixture
def moving_edge(address: Proxy, primary: Postgres, sandbox, tmp_path) -> Iterator[Edge]:
    url = psycopg.conninfo.make_conninfo(primary.url, port=address.port)
    with running_edge(
        EDGE_DATA_DIR=str(tmp_path / "data"),
        SUPABASE_DB_URL=url,
        PGRST_DB_URI=url,
        SERVE="rest",
        REPLICATE_API_TOKEN=SANDBOX_TOKEN,
        REPLICATE_API_URL=sandbox.url,
    ) as edge:
        yield edge


def start_status(edge: Edge) -> int:
    return int(edge.post("start-generation", SMALL).status_code)


def pause_status(edge: Edge) -> int:
    """An RPC that writes, through /rest/v1."""
    answer = edge.client.post(
        f"{edge.url}/rest/v1/rpc/pause_queue",
        json={"p_job_type": "none"},
        headers={"Authorization": f"Bearer {edge.service_role_key}"},
    )
    return answer.status_code


@pytest.mark.parametrize("write", [start_status, pause_status])
def test_sessions_on_the_standby_are_left_at_their_first_refusal(
    moving_edge: Edge, address: Proxy, primary: Postgres, standby: Postgres, write
):
    """They were used for an hour, answered 500, and jobs in flight spent their attempts as bugs."""
    edge = moving_edge
    eventually(lambda: write(edge) in {200, 204})
    address.upstream_port = standby.port
    address.cut()
    eventually(lambda: write(edge) == 503)
    eventually(lambda: edge.client.get(f"{edge.url}/ready").json()["status"] == READ_ONLY)
    address.upstream_port = primary.port  # open connections stay where they are
    seen: set[int] = set()

    def all_write_again() -> bool:
        last = [write(edge) for _ in range(12)]  # more than there are sessions
        seen.update(last)
        return set(last) <= {200, 204}

    eventually(all_write_again)
    assert seen <= {200, 204, 503}
    eventually(lambda: edge.client.get(f"{edge.url}/ready").json()["status"] == "ready")


def test_several_addresses_lead_to_the_one_that_takes_writes_also_after_a_promotion(
    primary: Postgres, standby: Postgres, sandbox: Provider, slow: Callable[[], None], tmp_path
):
    """The module's last test: the primary is gone. A prediction that runs meanwhile is adopted, not paid again."""
    url = (
        f"postgresql://postgres:postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        "/postgres?target_session_attrs=read-write"
    )
    with running_edge(
        EDGE_DATA_DIR=str(tmp_path / "data"),
        SUPABASE_DB_URL=url,
        REPLICATE_API_TOKEN=SANDBOX_TOKEN,
        REPLICATE_API_URL=sandbox.url,
    ) as edge:
        eventually(lambda: start_status(edge) == 200)
        prompt = f"a fox {uuid4()}"
        generation = start(edge, prompt=prompt)
        eventually(lambda: paid(sandbox, prompt) == 1)
        eventually(lambda: parked(standby, prompt))
        primary.stop("immediate")
        standby.run("pg_ctl", "-D", str(standby.data), "-w", "promote")
        eventually(lambda: start_status(edge) == 200)
        slow()
        assert until_ended(edge, generation)["status"] == "completed"
        assert paid(sandbox, prompt) == 1


def paid(sandbox: Provider, prompt: str) -> int:
    """Predictions with this prompt."""
    made = [*sandbox.state.predictions.values()]
    return sum(prompt in str(prediction.input) for prediction in made)


def parked(server: Postgres, prompt: str) -> bool:
    """Whether the prediction's identifier has arrived on ``server``."""
    with psycopg.connect(server.url) as connection:
        row = connection.execute(
            "select count(*) from predictions where input ->> 'prompt' = %s and prediction_id is not null",
            (prompt,),
        ).fetchone()
    return row == (1,)
