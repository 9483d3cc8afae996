"""A library at /rest/v1, over real HTTP: one database and one gateway for all tests that change nothing for good.

Every transaction is rolled back (PGRST_DB_TX_END) unless a request says ``Prefer: tx=commit``.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import PORT, Provider, running_edge, user_token

LIBRARY = Path(__file__).with_name("library.sql").read_text()
LOGIN = """
do $$ begin
    create role rest_login login noinherit password 'rest';
    grant anon, authenticated, service_role to rest_login;
exception when duplicate_object then null;
end $$
"""


class Rest:
    """A client of one gateway's /rest/v1. ``role`` None: no token, which is the role anon."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self.url = f"{url}/rest/v1"
        self._client = client

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        prefer: str | None = None,
        role: str | None = None,
        sub: str = "",
        **headers: str,
    ) -> httpx.Response:
        """``body``: JSON, or text and bytes as they are. A header's underscores stand for hyphens."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if prefer:
            told["prefer"] = prefer
        if role:
            told["authorization"] = f"Bearer {user_token(role=role, sub=sub or str(uuid4()))}"
        given = {"content": body} if isinstance(body, str | bytes) else {"json": body}
        options = given if body is not None else {}
        return self._client.request(method, f"{self.url}{path}", headers=told, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self("GET", path, **options)

    def rows(self, path: str, **options: Any) -> Any:
        """The JSON of a GET that succeeds."""
        answer = self.get(path, **options)
        assert answer.status_code in {200, 206}, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def library(
    admin: psycopg.Connection[Any], request: pytest.FixtureRequest
) -> Iterator[Callable[[str], str]]:
    """A login role → the address of the library's database."""
    template = request.getfixturevalue("templates").template_dbname
    admin.execute(f"create database library owner postgres template {template} strategy file_copy")
    admin.execute(LOGIN)

    def address(login: str = "rest_login:rest") -> str:
        return f"postgresql://{login}@127.0.0.1:{PORT}/library"

    with psycopg.connect(address("postgres:postgres"), autocommit=True) as connection:
        connection.execute(LIBRARY.encode())
    yield address
    admin.execute("drop database library with (force)")


@pytest.fixture(scope="session")
def start_rest(
    library: Callable[[str], str],
    fastest_sandbox: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Any]:
    """A context manager: a gateway on the library; keyword arguments are settings."""

    @contextmanager
    def start(**settings: str) -> Iterator[Rest]:
        environ = {
            "EDGE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "SUPABASE_DB_URL": library("postgres:postgres"),
            "REPLICATE_API_TOKEN": "r8_sandbox",
            "REPLICATE_API_URL": fastest_sandbox.url,
            "SERVE": "rest",
            "PGRST_DB_URI": library("rest_login:rest"),
            "PGRST_DB_SCHEMAS": "api,staff",
            "PGRST_DB_TX_END": "rollback-allow-override",
        }
        with running_edge(**{**environ, **settings}) as edge:
            yield Rest(edge.url, edge.client)

    return start


@pytest.fixture(scope="session")
def rest(start_rest: Callable[..., Any]) -> Iterator[Rest]:
    with start_rest() as rest:
        yield rest


@pytest.fixture
def rest_with(start_rest: Callable[..., Any]) -> Iterator[Callable[..., Rest]]:
    """A gateway of the test's own settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(start_rest(**settings))


@pytest.fixture
def in_library(library: Callable[[str], str]) -> Iterator[psycopg.Connection[Any]]:
    """The superuser's connection."""
    address = library("postgres:postgres")
    with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
        yield connection
