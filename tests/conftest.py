"""One PostgreSQL for the session, a fresh database, gateway and sandbox for each test that asks for them."""

import asyncio
import functools
import itertools
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import hypothesis
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

hypothesis.settings.register_profile("no deadline", deadline=None)  # wall time is no assertion
hypothesis.settings.load_profile("no deadline")

PORT = free_port()
NUMBERS = itertools.count(1)
Row = DictRow
Database = psycopg.Connection[Row]


def pytest_xdist_auto_num_workers() -> int:
    """Two processes to a core: most tests wait for something, half of their time."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones: at the end they would keep one core busy, and the others idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary folders are no disk, where there is one with room: clusters and databases are made by the hundred."""
    tmp_path_factory.getbasetemp()  # pytest keeps the last three of its own: they stay on disk
    shm = "/dev/shm"  # noqa: S108 - the names below it are random
    with pytest.MonkeyPatch.context() as patch:
        if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30:
            patch.setattr(tempfile, "tempdir", shm)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that every database of the session lives in; started by the first test that asks for one."""
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        server = cluster(Path(folder), PORT)
        server.start(
            [
                "fsync=off",
                "full_page_writes=off",
                "max_connections=300",
                "max_wal_size=256MB",
                "wal_level=logical",
            ]
        )
        yield server
        server.stop("immediate")


@pytest.fixture(scope="session")
def admin(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """The superuser's connection, which makes and drops databases."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        if connection.info.server_version >= 160000:
            # 4,096 rounds of SCRAM cost milliseconds at each of some ten thousand connections.
            connection.execute("set scram_iterations = 1")
        # Tests lock, terminate and create what an app may not.
        connection.execute("alter role postgres superuser password 'postgres'")
        yield connection


def load_schema(*, host: str, port: int, user: str, dbname: str, password: str, **_: Any) -> None:
    apply_schema(f"postgresql://{user}:{password}@{host}:{port}/{dbname}")


templates = factories.postgresql_noproc(
    host="127.0.0.1", port=PORT, user="postgres", password="postgres", load=[load_schema]
)
"""pytest-postgresql's template database: sql/ is applied once a session."""


@pytest.fixture
def dsn(admin: psycopg.Connection[Any], request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database with the schema applied: a copy of the template.

    Copied here, not by pytest-postgresql's own fixture: over one connection, and file by file, at half the cost of
    logging each page, where a checkpoint costs nothing.
    """
    template = request.getfixturevalue("templates").template_dbname  # after the server has started
    name = f"test_{next(NUMBERS)}"
    admin.execute(f"create database {name} owner postgres template {template} strategy file_copy")
    yield f"postgresql://postgres:postgres@127.0.0.1:{PORT}/{name}"
    admin.execute(f"drop database {name} with (force)")


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


class Impatient:
    """asyncio, as uvicorn's server module sees it: its pauses between looks at a stop, of 100 ms, take 5 ms."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


@pytest.fixture(scope="session", autouse=True)
def cheap_servers() -> Iterator[None]:
    """What each start and stop of a gateway in a thread would pay: most tests start one.

    uvicorn pauses for 0.2 s in a stop. Each of httpx's clients, four to a gateway, reads all root certificates: 20 ms.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", Impatient())
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


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


QUICK_POLLS = """
create function public.poll_quickly() returns trigger language plpgsql
as $$ begin new.first_poll_seconds := 0.02; return new; end $$;
create trigger poll_quickly before insert on public.predictions
for each row execute function public.poll_quickly();
"""


@pytest.fixture
def environ(dsn: str, db: Database, sandbox: Provider, tmp_path: Path) -> dict[str, str]:
    """Settings of an edge on this test's own database, sandbox and folder.

    A prediction is first polled 20 ms after it is parked, not up to 2 s.
    """
    db.execute(QUICK_POLLS.encode())
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


@pytest.fixture
def clock(dsn: str) -> Iterator[None]:
    """The stand-ins for pg_cron and pg_net, installed and served."""
    with ticking(dsn):
        yield


@pytest.fixture
def in_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set constants in the Python processes that the test starts: ``in_children("functions.x", LIMIT_S=1)``."""
    folder = tmp_path / "in_children"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    lines: list[str] = []

    def change(module: str, **constants: float) -> None:
        lines.append(f"import {module}\n")
        lines.extend(f"{module}.{name} = {value!r}\n" for name, value in constants.items())
        # Python imports a module of this name at its start.
        (folder / "sitecustomize.py").write_text("".join(lines))

    return change
