"""One PostgreSQL for the session, a fresh database, gateway and sandbox for each test that asks for them."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from jose import jwt
from psycopg.rows import DictRow, dict_row
from pytest_postgresql import factories

from functions._local.defaults import SANDBOX_TOKEN, local_environment, sign_key
from functions._local.sandbox.app import create_sandbox
from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions._shared.settings import Settings
from functions.gateway.app import create_app
from scripts.postgres import Postgres, cluster, free_port
from scripts.schema import apply_schema
from scripts.stack import bound, serving, ticking

PORT = free_port()
Row = DictRow
Database = psycopg.Connection[Row]


def in_memory() -> Path | None:
    """A folder that is no disk, where there is one with room: a thousand databases are made and dropped in a run."""
    shm = Path("/dev/shm")  # noqa: S108 - a name of our own below it
    if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30:
        return shm
    return None


@pytest.fixture(scope="session", autouse=True)
def postgres() -> Iterator[Postgres]:
    """The server that every database of the session lives in; as root too."""
    with tempfile.TemporaryDirectory(
        prefix="picture-edge-", dir=in_memory(), ignore_cleanup_errors=True
    ) as folder:
        server = cluster(Path(folder), PORT)
        server.start(["fsync=off", "max_connections=300", "max_wal_size=256MB"])
        with psycopg.connect(server.admin_url) as admin:
            admin.execute(
                "alter role postgres superuser"
            )  # tests lock, end and make what an app may not
        yield server
        server.stop("immediate")


def load_schema(*, host: str, port: int, user: str, dbname: str, password: str, **_: Any) -> None:
    apply_schema(f"postgresql://{user}:{password}@{host}:{port}/{dbname}")


shared_server = factories.postgresql_noproc(
    host="127.0.0.1", port=PORT, user="postgres", password="postgres", load=[load_schema]
)
postgresql = factories.postgresql("shared_server")


@pytest.fixture
def dsn(postgresql: psycopg.Connection[Any]) -> str:
    """A fresh database with the schema applied."""
    return f"postgresql://postgres:postgres@127.0.0.1:{PORT}/{postgresql.info.dbname}"


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[..., Database]]:
    """Real connections, as many as a test wants. A lost ``skip locked`` fails after the time-out, not hangs."""
    with ExitStack() as stack:

        def open_connection(*, autocommit: bool = True) -> Database:
            return stack.enter_context(
                psycopg.connect(
                    dsn, autocommit=autocommit, row_factory=dict_row, options="-c lock_timeout=2s"
                )
            )

        yield open_connection


@pytest.fixture
def db(connect: Callable[..., Database]) -> Database:
    return connect()


@dataclass
class Provider:
    url: str
    state: Any


@pytest.fixture(scope="session")
def fastest_sandbox() -> Iterator[Provider]:
    app = create_sandbox(token=SANDBOX_TOKEN, seconds=0)
    with bound("127.0.0.1", free_port(), "sandbox") as listener, serving(app, listener):
        yield Provider(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", app.state.sandbox)


@pytest.fixture
def sandbox(fastest_sandbox: Provider) -> Provider:
    """A sandbox at its fastest, as new; its predictions can be looked at."""
    fastest_sandbox.state.clear()
    return fastest_sandbox


@pytest.fixture
def slow(sandbox: Provider) -> Iterator[Callable[[], None]]:
    """Pictures that take until ``finish`` is called."""
    sandbox.state.seconds = 200

    def finish() -> None:
        sandbox.state.seconds = 0
        for prediction in sandbox.state.predictions.values():
            prediction.created -= 300

    yield finish
    sandbox.state.seconds = 0


@dataclass
class Edge:
    """A running gateway and what a test needs to talk to it."""

    url: str
    anon_key: str
    service_role_key: str
    client: httpx.Client
    user_id: str = field(default_factory=lambda: str(uuid4()))

    def post(self, function: str, body: Any = None, token: str | None = "", **options: Any) -> Any:
        """POST to a function; ``token`` "" is a signed-in user's, None sends none."""
        return self.call(
            "POST", function, token, **({"json": body} if body is not None else {}), **options
        )

    def get(self, function: str, token: str | None = "") -> Any:
        return self.call("GET", function, token)

    def call(
        self, method: str, function: str, token: str | None = "", **options: Any
    ) -> httpx.Response:
        token = self.user_token() if token == "" else token
        headers = {
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **options.pop("headers", {}),
        }
        return self.client.request(
            method, f"{self.url}/functions/v1/{function}", headers=headers, **options
        )

    def user_token(self, **claims: Any) -> str:
        return user_token(**{"sub": self.user_id, **claims})


def user_token(secret: str = LOCAL_JWT_SECRET, **claims: Any) -> str:
    """A signed-in user's token, as Supabase Auth makes them."""
    base = {"sub": str(uuid4()), "role": "authenticated", "aud": "authenticated", "exp": 4102444800}
    return jwt.encode({**base, **claims}, secret, algorithm="HS256")


@contextmanager
def running_edge(**environ: str) -> Iterator[Edge]:
    """A gateway on a free port; ``environ`` holds the settings that differ from the local stack's."""
    port = int(environ.get("EDGE_PORT") or free_port())
    values = (
        local_environment({"EDGE_PORT": str(port), "LOG_LEVEL": "WARNING", **environ}) | environ
    )
    secret = values["SUPABASE_JWT_SECRET"]
    with (
        bound("127.0.0.1", port, "EDGE_PORT") as listener,
        serving(create_app(Settings.from_env(values)), listener),
        httpx.Client(timeout=30) as client,
    ):
        yield Edge(
            f"http://127.0.0.1:{port}",
            sign_key(secret, "anon"),
            sign_key(secret, "service_role"),
            client,
        )


@pytest.fixture
def environ(dsn: str, sandbox: Provider, tmp_path: Path) -> dict[str, str]:
    """Settings of an edge on this test's own database, sandbox and folder."""
    return {
        "EDGE_DATA_DIR": str(tmp_path / "data"),
        "SUPABASE_DB_URL": dsn,
        "REPLICATE_API_TOKEN": SANDBOX_TOKEN,
        "REPLICATE_API_URL": sandbox.url,
    }


@pytest.fixture
def start_edge(environ: dict[str, str]) -> Iterator[Callable[..., Edge]]:
    """Start a gateway that runs until the test ends; keyword arguments override ``environ``."""
    with ExitStack() as stack:
        yield lambda **overrides: stack.enter_context(running_edge(**{**environ, **overrides}))


@pytest.fixture
def edge(start_edge: Callable[..., Edge]) -> Edge:
    return start_edge()


@pytest.fixture
def idle_edge(start_edge: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch) -> Edge:
    """A gateway whose worker runs only what process-jobs is called for."""
    monkeypatch.setattr("functions.process_jobs.worker.Worker._claim_loop", _never)
    return start_edge()


async def _never(self: object) -> None:
    return None


def until_ended(edge: Edge, generation_id: str) -> dict[str, Any]:
    """Poll a generation, as clients do, until it has ended; the test's own time-out bounds it."""
    while True:
        generation: dict[str, Any] = edge.get(f"start-generation/{generation_id}").json()
        if generation["status"] in {"completed", "failed", "cancelled"}:
            return generation


@pytest.fixture
def clock(dsn: str) -> Iterator[None]:
    """The stand-ins for pg_cron and pg_net, installed and served."""
    with ticking(dsn):
        yield
