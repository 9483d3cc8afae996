"""Well-known local keys: only this machine, by its own names (DNS rebinding), and no foreign page (CSRF)."""

import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from jose import jwt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from functions._local.defaults import local_environment
from functions._shared.local_keys import (
    EXAMPLE_JWT_SECRET,
    LOCAL_JWT_SECRET,
    PUBLISHABLE_KEY,
    SECRET_KEY,
)
from functions._shared.settings import Settings
from functions.gateway.front_door import FrontDoor
from functions.gateway.loopback import is_loopback, names_this_machine
from tests.conftest import Edge
from tests.help import BODY

OWN = "own-secret-own-secret-own-secret-own-secret"
REAL = {"REPLICATE_API_URL": "https://provider.invalid/v1", "REPLICATE_API_TOKEN": "r8_real"}


def ask(edge: Edge, path: str = "/functions/v1/start-generation", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{edge.url}{path}", json=BODY, headers={"apikey": edge.anon_key, **named})


# By whose name


OURS = ["localhost", "LOCALHOST:54321", "localhost.:1", "app.localhost", "127.0.0.1", "127.9.9.9:54321", "[::1]:54321",
        "10.0.2.2:54321", "host.docker.internal:54321"]  # fmt: skip
OTHERS = ["evil.example", "evil.example:54321", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.5",
          "0.0.0.0", "[2001:db8::1]", "user@localhost", "localhost/x", "localhost, evil.example", "::1",
          "[::1", "", "x"]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "ours"), [*((host, True) for host in OURS), *((host, False) for host in OTHERS)]
)
def test_which_names_are_this_machines(host, ours):
    assert names_this_machine(host) is ours


def test_a_name_that_was_made_to_lead_here_is_refused(idle_edge: Edge):
    """DNS rebinding: the page's own name, and so its own origin."""
    for host in ("evil.example", "evil.example:54321"):
        answer = ask(idle_edge, Host=host)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        assert "call one of them, or set SUPABASE_JWT_SECRET" in answer.json()["error"]
        assert answer.headers["access-control-allow-origin"] == "*"
    assert ask(idle_edge, "/rest/v1/rows", Host="evil.example").status_code == 403
    for host in ("localhost:1", "a.localhost", "127.0.0.1"):
        assert ask(idle_edge, Host=host).status_code == 200
    assert ask(idle_edge, X_Forwarded_Host="evil.example").status_code == 403
    assert ask(idle_edge, X_Forwarded_Host="localhost:3000").status_code == 200


def test_the_functions_own_name_is_one_of_ours(start_edge):
    edge = start_edge(FUNCTIONS_HOST="functions.test")
    assert ask(edge, "/start-generation", Host="functions.test:443").status_code == 200
    assert ask(edge, "/start-generation", Host="other.test").status_code == 403


def test_with_keys_of_ones_own_any_name_will_do(start_edge):
    edge = start_edge(SUPABASE_JWT_SECRET=OWN, ALLOW_ANON="true")
    assert ask(edge, Host="edge.example", X_Forwarded_For="203.0.113.7").status_code == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n", 403),
        (b"GET /health HTTP/1.0\r\nhost: evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", 403),
    ],
)  # fmt: skip
def test_a_host_may_be_absent_where_http_lets_it(idle_edge: Edge, head, status):
    address = urlsplit(idle_edge.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head)
        assert int(connection.recv(65536).split()[1]) == status


# For whom


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_Forwarded_For": "127.0.0.1"}, 200),
        ({"X_Forwarded_For": "::1, ::ffff:127.0.0.1"}, 200),
        ({"X_Forwarded_For": "8.8.8.8"}, 403),
        ({"X_Forwarded_For": "8.8.8.8, 127.0.0.1"}, 403),
        ({"X_Forwarded_For": "192.168.1.5"}, 403),
        ({"X_Forwarded_For": "unknown"}, 403),
        ({"X_Forwarded_For": ",".join(["127.0.0.1"] * 100)}, 403),
        ({"X_Real_IP": "8.8.8.8"}, 403),
    ],
)
def test_a_proxy_on_the_same_machine_brings_nobody_from_elsewhere(idle_edge: Edge, headers, status):
    answer = ask(idle_edge, **headers)
    assert answer.status_code == status
    assert status == 200 or "through a proxy for somebody else" in answer.json()["error"]


# Whose page


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://192.168.1.5:3000", "http://localhost.evil.example"],
)
def test_a_foreign_page_may_not_spend_a_real_token(start_edge, origin):
    edge: Edge = start_edge(**REAL)
    for path in (
        "/functions/v1/start-generation",
        "/functions/v1/generate-image",
        "/rest/v1/rpc/enqueue_job",
    ):
        answer = ask(edge, path, Origin=origin)
        assert answer.status_code == 403
        assert "may not spend your REPLICATE_API_TOKEN" in answer.json()["error"]
        assert answer.headers["access-control-allow-origin"] == "*", "so that the page can show it"


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "http://127.0.0.1:5173", "capacitor://localhost", "http://[::1]:1"],
)
def test_a_page_of_ones_own_may(start_edge, db, origin):
    db.execute("select pause_queue()")
    edge: Edge = start_edge(**REAL)
    assert ask(edge, Origin=origin).status_code != 403


def test_the_sandbox_costs_nothing(idle_edge: Edge):
    assert ask(idle_edge, Origin="https://evil.example").status_code == 200


# Websockets, and listeners


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"X-Forwarded-For": "8.8.8.8"}, {"Origin": "https://evil.example"}],
)
async def test_websockets_are_asked_the_same(start_edge, headers):
    edge = start_edge(SUPABASE_UPSTREAM_URL="http://127.0.0.1:1", **REAL)
    url = f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket"
    given: Any = (
        {"origin": headers["Origin"]} if "Origin" in headers else {"additional_headers": headers}
    )
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, proxy=None, **given)
    assert refused.value.response.status_code == 403
    assert b"well-known local keys" in (refused.value.response.body or b"")


@pytest.mark.parametrize(
    ("server", "secret", "passes"),
    [
        pytest.param(("127.0.0.1", 54321), LOCAL_JWT_SECRET, True, id="loopback"),
        pytest.param(("::ffff:127.0.0.1", 54321), LOCAL_JWT_SECRET, True, id="of both families"),
        pytest.param(("/run/edge.sock", None), LOCAL_JWT_SECRET, True, id="a UNIX socket"),
        pytest.param(("192.168.1.5", 54321), LOCAL_JWT_SECRET, False, id="the network"),
        pytest.param(("192.168.1.5", 54321), OWN, True, id="the network, with keys of one's own"),
    ],
)
async def test_public_keys_are_served_on_loopback_only(server, secret, passes):
    sent: list[Any] = []

    async def answer(request: Request) -> Response:
        return Response()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "client": ("127.0.0.1", 5000),
        "server": server,
        "http_version": "1.1",
        "headers": [(b"host", b"localhost")],
    }
    settings = Settings.from_env(local_environment({"SUPABASE_JWT_SECRET": secret}))
    door = FrontDoor(settings, [Route("/", answer)], {}, {}, None)
    await door(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == (200 if passes else 403)


def test_is_loopback():
    own = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1")
    others = ("0.0.0.0", "192.168.1.5", "::", "edge.example", "")
    assert [*map(is_loopback, own)] == [True] * len(own)
    assert [*map(is_loopback, others)] == [False] * len(others)


# Which keys they are


def signed(role: str, secret: str) -> str:
    return jwt.encode({"iss": "supabase", "role": role, "exp": 1799535600}, secret, "HS256")


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({}, False),
        ({"SUPABASE_JWT_SECRET": LOCAL_JWT_SECRET}, True),
        ({"SUPABASE_JWT_SECRET": EXAMPLE_JWT_SECRET}, True),
        ({"SUPABASE_SERVICE_ROLE_KEY": signed("service_role", LOCAL_JWT_SECRET)}, True),
        ({"SUPABASE_SERVICE_ROLE_KEY": signed("service_role", EXAMPLE_JWT_SECRET)}, True),
        ({"SUPABASE_ANON_KEY": signed("anon", LOCAL_JWT_SECRET)}, True),
        ({"SUPABASE_SECRET_KEYS": f'{{"default": "{SECRET_KEY}"}}'}, True),
        ({"SUPABASE_PUBLISHABLE_KEYS": f'{{"default": "{PUBLISHABLE_KEY}"}}'}, True),
        ({"SUPABASE_ANON_KEY": signed("anon", LOCAL_JWT_SECRET), "ALLOW_ANON": "false"}, False),
        ({"SUPABASE_SERVICE_ROLE_KEY": "sb_secret_of_ones_own_0123456789"}, False),
    ],
)
def test_one_key_that_everybody_knows_is_enough(changed, known):
    """A secret of one's own closes nothing while a public key still opens it."""
    own = {"SUPABASE_JWT_SECRET": OWN, "ALLOW_ANON": "true"}
    values = local_environment(own) | changed
    assert Settings.from_env(values).uses_local_keys is known
