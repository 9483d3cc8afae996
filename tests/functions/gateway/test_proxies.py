"""Trusted proxies and X-Forwarded-For spoofing: over TCP and a UNIX socket, under our server and plain uvicorn."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from functions._local.defaults import local_environment
from functions._shared.settings import Settings, SettingsError
from functions.gateway.proxies import MAX_PROXIES, Peer, TrustedProxies, peer_of
from functions.gateway.server import UVICORN
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge
from tests.help import PROJECT, eventually

OWN = "own-secret-own-secret-own-secret-own-secret"
FOR = "x-forwarded-for"


def settings(trusted: str = "") -> Settings:
    return Settings.from_env(local_environment({"TRUSTED_PROXIES": trusted}))


async def seen(
    *lines: str,
    peer: tuple[str, int] | None = ("127.0.0.1", 5000),
    server: tuple[str, int | None] = ("127.0.0.1", 54321),
    trusted: str = "",
    uvicorns: str | None = None,
    **more: str,
) -> tuple[str | None, str, Peer]:
    """The client's address, the scheme and the way that the app sees; ``uvicorns``: whom its middleware trusts."""
    scopes: list[Any] = []

    async def ours(scope, receive, send):
        TrustedProxies(settings(trusted).trusted_proxies)(scope, dict(scope["headers"]))
        scopes.append(scope)

    headers = [(FOR.encode(), line.encode("latin-1")) for line in lines]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    scope = {
        "type": "http",
        "scheme": "http",
        "client": peer,
        "server": server,
        "headers": headers,
    }
    outer: Any = ProxyHeadersMiddleware(ours, uvicorns) if uvicorns else ours
    await outer(scope, None, None)
    [inner] = scopes
    return (inner["client"] or (None,))[0], inner["scheme"], peer_of(inner)


DOCKER: dict[str, Any] = {"peer": ("172.18.0.2", 5)}
FIRST: dict[str, Any] = {"uvicorns": "127.0.0.1"}
UNIX: dict[str, Any] = {"peer": None, "server": ("/run/edge.sock", None)}
CHAIN = "10.0.0.0/8 127.0.0.0/8"


@pytest.mark.parametrize(
    ("lines", "options", "client"),
    [
        pytest.param([], {}, "127.0.0.1", id="nobody names anybody"),
        pytest.param(["203.0.113.7"], {}, "203.0.113.7", id="the one that the proxy saw"),
        pytest.param(["1.1.1.1, 203.0.113.7"], {}, "203.0.113.7", id="not the one that the client wrote"),
        pytest.param(["1.1.1.1", "203.0.113.7"], {}, "203.0.113.7", id="lines are one list"),
        pytest.param(["203.0.113.7,"], {}, "203.0.113.7", id="an empty entry"),
        pytest.param(["1.1.1.1, 203.0.113.7, 10.0.0.5"], {}, "10.0.0.5", id="a proxy that nobody named"),
        pytest.param(["1.1.1.1, 203.0.113.7, 10.0.0.5"], {"trusted": CHAIN}, "203.0.113.7", id="a chain"),
        pytest.param(["1.1.1.1", "203.0.113.7", "10.0.0.5"], {"trusted": CHAIN}, "203.0.113.7", id="a chain in lines"),
        pytest.param(["10.0.0.4, 10.0.0.5"], {"trusted": CHAIN}, "10.0.0.4", id="nobody but proxies"),
        pytest.param(["203.0.113.7"], DOCKER, "172.18.0.2", id="a container nobody named"),
        pytest.param(["203.0.113.7"], {**DOCKER, "trusted": "172.16.0.0/12"}, "203.0.113.7", id="a container"),
        pytest.param(["203.0.113.7"], {"peer": ("::ffff:127.0.0.1", 5)}, "203.0.113.7", id="a socket of both families"),
        pytest.param(["::ffff:203.0.113.7"], {}, "203.0.113.7", id="IPv4 written as IPv6"),
        pytest.param([], {"peer": ("::ffff:203.0.113.7", 5)}, "203.0.113.7", id="IPv4 seen as IPv6"),
        pytest.param(["203.0.113.7:4711"], {}, "203.0.113.7", id="with a port"),
        pytest.param(["[2001:db8::7]:4711"], {}, "2001:db8::7", id="brackets and a port"),
        pytest.param(["[2001:db8::7]"], {}, "2001:db8::7", id="brackets"),
        pytest.param(["2001:DB8::7"], {}, "2001:db8::7", id="capitals"),
        pytest.param(["203.0.113.7"], {"peer": ("::1", 5)}, "203.0.113.7", id="over IPv6's loopback"),
        pytest.param(["1.1.1.1, unknown"], {}, "127.0.0.1", id="a proxy that does not tell"),
        pytest.param(["1.1.1.1, \xff\x00, 10.0.0.5"], {"trusted": CHAIN}, "10.0.0.5", id="nonsense ends the list"),
        pytest.param(["203.0.113.7"], UNIX, "203.0.113.7", id="a UNIX socket"),
        pytest.param(["1.1.1.1, 203.0.113.7"], UNIX, "203.0.113.7", id="a UNIX socket, not what the client wrote"),
        pytest.param([], UNIX, None, id="a UNIX socket, nobody named"),
        pytest.param(["unknown"], UNIX, None, id="a UNIX socket, nonsense"),
        pytest.param(["203.0.113.7"], {"peer": None}, None, id="a peer that has gone is no UNIX socket"),
        pytest.param(["1.1.1.1, 203.0.113.7"], FIRST, "203.0.113.7", id="after uvicorn"),
        pytest.param(["203.0.113.7, 10.0.0.5"], {**FIRST, "trusted": CHAIN}, "203.0.113.7", id="a chain, so"),
        pytest.param(["1.1.1.1, 203.0.113.7"], {"uvicorns": "*"}, "203.0.113.7", id="uvicorn believed the first"),
        pytest.param(["1.1.1.1, 203.0.113.7"], {"uvicorns": "*", **UNIX}, "203.0.113.7", id="the same, of a socket"),
    ],
)  # fmt: skip
async def test_the_last_address_that_is_not_trusted_is_the_client(lines, options, client):
    assert (await seen(*lines, **options))[0] == client


@pytest.mark.parametrize(
    ("options", "said", "scheme"),
    [
        ({}, "https", "https"),
        ({}, "HTTPS", "https"),
        ({}, "wss", "https"),
        ({}, "http, https", "https"),
        ({}, "gopher", "http"),
        (UNIX, "https", "https"),
        ({"peer": ("203.0.113.7", 5)}, "https", "http"),
    ],
)
async def test_a_scheme_is_believed_of_proxies(options, said, scheme):
    assert (await seen(x_forwarded_proto=said, **options))[1] == scheme


async def test_what_is_behind_a_way_is_told():
    assert (await seen())[2] == Peer("127.0.0.1", trusted=True)
    assert (await seen(peer=("203.0.113.7", 5)))[2] == Peer("203.0.113.7", trusted=False)
    assert (await seen(**UNIX))[2] == Peer("", trusted=True)


async def test_of_a_list_without_end_only_its_end_is_read(monkeypatch):
    read = []
    parse = __import__("functions.gateway.proxies", fromlist=["parse_address"]).parse_address
    monkeypatch.setattr(
        "functions.gateway.proxies.parse_address",
        lambda entry: (read.append(entry), parse(entry))[1],
    )
    entries = ",".join(["10.0.0.9"] * 20_000)
    assert (await seen(entries, trusted=CHAIN))[0] == "10.0.0.9"
    assert len(read) <= MAX_PROXIES + 1
    assert (await seen("1" * 60_000))[0] == "127.0.0.1"


@pytest.mark.parametrize("value", ["0.0.0.0/0", "10.0.0.0/8 ::/0", "nginx", "10.0.0.0/33"])
def test_a_setting_that_is_no_network_or_all_of_them_is_refused(value):
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES must"):
        settings(value)


def test_networks_may_be_written_in_several_ways():
    networks = settings("10.1.2.3/8,192.0.2.1\n2001:db8::/32").trusted_proxies
    assert sorted(map(str, networks)) == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]


# Over the wire


def listens(gateway: "subprocess.Popen[bytes]", path: str) -> bool:
    assert gateway.poll() is None, "it did not start"
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@contextmanager
def process(environ: dict[str, str], *command: str) -> Iterator[None]:
    """The gateway in a process of its own, as it is run, until it listens on its socket."""
    path = environ["EDGE_SOCKET"]
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env={**os.environ, **environ}
    ) as gateway:
        try:
            eventually(lambda: listens(gateway, path))
            yield
        finally:
            gateway.terminate()


@pytest.mark.parametrize("plain", [False, True], ids=["python -m functions", "uvicorn"])
def test_guesses_over_a_unix_socket_are_counted_by_who_makes_them(environ, tmp_path, plain):
    path = str(tmp_path / "edge.sock")
    values = local_environment(
        {**environ, "SUPABASE_JWT_SECRET": OWN, "AUTH_FAILURES_PER_MINUTE": "3"}
    )
    values |= {"EDGE_SOCKET": path, "FORWARDED_ALLOW_IPS": "*" if plain else ""}
    command = ["uvicorn", "functions.gateway:app", "--uds", path] if plain else ["functions"]
    transport = httpx.HTTPTransport(uds=path)
    with process(values, *command), httpx.Client(transport=transport) as client:

        def guess(forwarded: str) -> int:
            headers = {"X-Forwarded-For": forwarded, "apikey": "sb_secret_wrong"}
            return client.post("http://edge/functions/v1/process-jobs", headers=headers).status_code

        made_up = [guess(f"10.9.8.{number}, 203.0.113.77") for number in range(5)]
        assert made_up == [401] * 3 + [429] * 2
        assert guess("203.0.113.77, 198.51.100.7") == 401, "who was named is not locked out"
        mapped = [guess(f"::ffff:192.0.2.{number}") for number in range(5)]
        assert mapped == [401] * 5, "IPv4 addresses are not one network"


def test_guesses_through_a_proxy_in_its_container_are_counted_by_who_makes_them(start_edge):
    edge: Edge = start_edge(
        SUPABASE_JWT_SECRET=OWN, AUTH_FAILURES_PER_MINUTE="3", TRUSTED_PROXIES="127.0.0.2"
    )

    def guesses(peer: str, forwarded: str) -> list[int]:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=peer)) as client:
            url = f"{edge.url}/functions/v1/process-jobs"
            return [
                client.post(
                    url, headers={"X-Forwarded-For": forwarded.format(number), "apikey": "sb_x"}
                ).status_code
                for number in range(5)
            ]

    assert guesses("127.0.0.2", "203.0.113.{}") == [401] * 5
    assert guesses("127.0.0.3", "203.0.113.{}") == [401] * 3 + [429] * 2, "not a proxy of ours"


# The forwarding headers that an upstream gets


@pytest.fixture
def project() -> Iterator[str]:
    async def tell(request: Request) -> JSONResponse:
        return JSONResponse([[key, value] for key, value in request.headers.items()])

    app = Starlette(routes=[Route("/{path:path}", tell)])
    with bound("127.0.0.1", free_port(), "project") as listener, serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


ABOUT_THE_WAY = {
    "X-Forwarded-Host": "shop.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/edge",
    "Forwarded": "for=198.51.100.1",
    "X-Real-IP": "203.0.113.7",
}


@pytest.mark.parametrize("trusted", [True, False])
def test_upstream_is_told_once_and_only_what_is_known(start_edge, project, trusted):
    edge = start_edge(
        SUPABASE_JWT_SECRET=OWN,
        SUPABASE_UPSTREAM_URL=project,
        TRUSTED_PROXIES="127.0.0.1" if trusted else "192.0.2.1",
    )
    lines = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-For", "203.0.113.7,"),
        ("X-Forwarded-For", ""),
    ]
    answer = httpx.get(f"{edge.url}/rest/v1/x", headers=[*lines, *ABOUT_THE_WAY.items()])
    told: dict[str, list[str]] = {}
    for name, value in answer.json():
        told.setdefault(name, []).append(value)
    assert told[FOR] == ["1.1.1.1, 203.0.113.7, 127.0.0.1"]
    about = {name.lower(): [value] for name, value in ABOUT_THE_WAY.items()}
    ours = {"x-forwarded-host": [edge.url.removeprefix("http://")], "x-forwarded-proto": ["http"]}
    assert {name: told[name] for name in about if name in told} == (about if trusted else ours)


def test_uvicorns_own_reading_of_proxies_is_off():
    assert UVICORN["proxy_headers"] is False
