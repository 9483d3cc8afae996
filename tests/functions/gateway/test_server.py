"""Bounds on heads, bodies and time (slowloris, slow POST); health checks that do not wait for the database."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import uvicorn
from starlette.applications import Starlette
from websockets.sync.client import connect as connect_websocket

from functions._local.defaults import SANDBOX_TOKEN
from functions._local.sandbox.app import create_sandbox
from functions.gateway.bounds import MAX_HEAD_BYTES
from functions.gateway.http_protocol import HttpProtocol
from functions.gateway.server import UVICORN, Server
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge
from tests.functions.gateway import raw
from tests.functions.gateway.raw import refusal, until_closed
from tests.help import BODY, PROJECT, eventually, until

Connect = Callable[[Edge], socket.socket]


@pytest.fixture
def dial() -> Iterator[Connect]:
    open_sockets: list[socket.socket] = []

    def dial(edge: Edge) -> socket.socket:
        open_sockets.append(raw.dial(edge))
        return open_sockets[-1]

    yield dial
    for opened in open_sockets:
        opened.close()


def test_headers_without_an_end_are_not_read_on(idle_edge: Edge, dial: Connect):
    connection = dial(idle_edge)
    connection.sendall(
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"a" * MAX_HEAD_BYTES
    )
    status, code, head = refusal(until_closed(connection))
    assert (status, code) == (431, "HEADERS_TOO_LARGE")
    assert b"access-control-allow-origin: *" in head
    assert idle_edge.client.get(f"{idle_edge.url}/health").status_code == 200


@pytest.mark.parametrize("said", [b"", b"G", b"GET /health HTTP/1.1\r\nhost: localhost\r\n"])
def test_who_does_not_come_to_the_point_is_hung_up_on(
    idle_edge: Edge, dial: Connect, monkeypatch, said
):
    monkeypatch.setattr("functions.gateway.bounds.HEAD_S", 0.1)
    connection = dial(idle_edge)
    connection.sendall(said)
    answer = until_closed(connection)
    assert refusal(answer)[:2] == (408, "REQUEST_TIMEOUT") if said else answer == b""


def test_the_second_head_of_a_connection_is_bounded_too(
    idle_edge: Edge, dial: Connect, monkeypatch
):
    monkeypatch.setattr("functions.gateway.bounds.HEAD_S", 0.1)
    connection = dial(idle_edge)
    connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b" 200 " in connection.recv(65536)
    connection.sendall(b"GET /hea")
    assert b" 408 " in until_closed(connection)


def test_a_websocket_outlives_the_bound_on_its_head(start_edge, dial: Connect, monkeypatch):
    monkeypatch.setattr("functions.gateway.bounds.HEAD_S", 0.1)
    edge: Edge = start_edge()
    url = f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={edge.anon_key}&vsn=2.0.0"
    with connect_websocket(url) as websocket:
        assert until_closed(dial(edge)) == b"", "the bound has passed"
        websocket.send('[null,"1","phoenix","heartbeat",{}]')
        assert "phx_reply" in websocket.recv(timeout=10)


def test_a_request_that_comes_whole_sets_no_timer(idle_edge: Edge, dial: Connect, monkeypatch):
    begun = []
    for name in ("_begin_head", "_begin_body_window"):
        begin = getattr(HttpProtocol, name)
        monkeypatch.setattr(
            HttpProtocol,
            name,
            lambda self, begin=begin, name=name: (begun.append(name), begin(self)),
        )
    connection = dial(idle_edge)
    for _ in range(3):
        connection.sendall(
            b"POST /functions/v1/unknown HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"
        )
        assert b" 404 " in connection.recv(65536)
    assert begun == ["_begin_head"], "that of the new connection"


def test_the_body_of_a_refused_request_may_come_all_the_same(idle_edge: Edge, dial: Connect):
    """Lingering close: clients send the body before they read; a reset would lose them the response."""
    size = 40 * MAX_HEAD_BYTES
    head = (
        "POST /functions/v1/start-generation HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {idle_edge.user_token()}\r\ncontent-length: {size}\r\n\r\n"
    )
    connection = dial(idle_edge)
    connection.sendall(head.encode())
    connection.sendall(bytes(size))
    assert refusal(until_closed(connection))[:2] == (413, "PAYLOAD_TOO_LARGE")


def test_a_body_that_does_not_come_is_408(idle_edge: Edge, dial: Connect, monkeypatch):
    monkeypatch.setattr("functions._shared.web.bodies.BODY_S", 0.1)
    head = (
        "POST /functions/v1/start-generation HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"authorization: Bearer {idle_edge.user_token()}\r\ncontent-length: 100\r\n\r\n"
    )
    connection = dial(idle_edge)
    connection.sendall(head.encode() + b'{"prompt":')
    assert refusal(until_closed(connection))[:2] == (408, "REQUEST_TIMEOUT")


def test_a_client_that_waits_ten_minutes_is_not_cut(start_edge, dial: Connect, monkeypatch):
    """All time-outs of the server pass meanwhile, as other connections show."""
    monkeypatch.setattr("functions.gateway.bounds.HEAD_S", 0.1)
    monkeypatch.setitem(UVICORN, "timeout_keep_alive", 0.1)
    slow = create_sandbox(token=SANDBOX_TOKEN, seconds=599)
    with (
        bound("127.0.0.1", free_port(), "sandbox") as listener,
        serving(slow, listener),
        ThreadPoolExecutor(1) as client,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        edge: Edge = start_edge(REPLICATE_API_URL=url)
        waiting = client.submit(edge.post, "generate-image", BODY)

        def created() -> list[object]:
            assert not waiting.done()
            return [*slow.state.sandbox.predictions.values()]

        predictions = eventually(created)
        idle = dial(edge)
        idle.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        until_closed(idle)  # the keep-alive time
        until_closed(dial(edge))  # the head's
        assert not waiting.done()
        predictions[0].created -= 600
        answer = waiting.result()
    assert answer.status_code == 200
    assert answer.json()["generation_time"] < 600


def test_it_answers_about_itself_while_the_database_answers_nobody(start_edge, connect, db):
    edge: Edge = start_edge(DB_POOL_SIZE="1")
    started = edge.post("start-generation", BODY).json()["generation_id"]
    with closing(connect(autocommit=False)) as other, ThreadPoolExecutor(2) as clients:
        other.execute("set lock_timeout = 0")
        other.execute("lock table image_generations in access exclusive mode")
        asked = [clients.submit(edge.get, f"start-generation/{started}") for _ in range(2)]
        until(
            db,
            "select count(*) > 0 from pg_locks"
            " where not granted and relation = 'image_generations'::regclass",
            True,
        )
        assert edge.client.get(f"{edge.url}/health").json() == {"status": "ok"}
        assert edge.client.get(f"{edge.url}/ready").status_code == 200
        assert not any(one.done() for one in asked)
        other.rollback()
        assert {one.result().status_code for one in asked} == {200}


async def test_a_stop_signal_wakes_the_server(monkeypatch):
    monkeypatch.setattr("functions.gateway.server.DATE_S", 3600)
    config = uvicorn.Config(Starlette(), **UVICORN)
    config.load()
    server = Server(config)
    serving = asyncio.create_task(server.main_loop())
    await asyncio.sleep(0)
    assert server.server_state.default_headers[0][0] == b"date"
    assert not serving.done()
    server.handle_exit(signal.SIGTERM, None)
    async with asyncio.timeout(20):
        await serving


def test_a_start_imports_nothing_that_is_rarely_used():
    """Each takes 10 to 30 ms of a start, and 2 to 3 MB."""
    program = "import sys, functions.gateway; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"functions.gateway.app", "aiohttp"} <= {*imported}
    assert not {"PIL", "jinja2", "jsonschema", "pygal", "rich"} & {*imported}
