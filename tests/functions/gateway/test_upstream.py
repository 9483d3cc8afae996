"""The reverse proxy: HTTP and websockets to the project's Supabase, byte for byte, with backpressure both ways."""

import asyncio
import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from supabase import ClientOptions, create_client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from functions.gateway.http_protocol import HttpProtocol
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge
from tests.functions.gateway.raw import dial, head, pour, refusal, until_closed
from tests.help import BODY

pytestmark = pytest.mark.slow

BIG = 20 * 1024 * 1024


@dataclass
class Project:
    """An upstream that records what reached it."""

    url: str = ""
    seen: list[Request] = field(default_factory=list)
    cut: threading.Event = field(default_factory=threading.Event)
    """Whether a request ended before its body did."""
    reached: threading.Event = field(default_factory=threading.Event)
    may_read: threading.Event = field(default_factory=threading.Event)

    async def tell(self, request: Request) -> Response:
        self.seen.append(request)
        digest, size = hashlib.sha256(), 0
        try:
            async for chunk in request.stream():
                digest.update(chunk)
                size += len(chunk)
        except ClientDisconnect:
            self.cut.set()
        return JSONResponse(
            {
                "method": request.method,
                "path": request.scope["raw_path"].decode(),
                "query": request.scope["query_string"].decode(),
                "headers": dict(request.headers),
                "size": size,
                "sha256": digest.hexdigest(),
            },
            headers={"x-relay-error": "true", "access-control-allow-origin": "https://app.test"},
        )

    async def rows(self, request: Request) -> Response:
        self.seen.append(request)
        return JSONResponse([{"id": 1}], headers={"content-range": "0-0/1"})

    async def part(self, request: Request) -> Response:
        assert request.headers["range"] == "bytes=2-4"
        return Response(b"cde", 206, {"content-range": "bytes 2-4/26", "etag": '"e"'})

    async def away(self, request: Request) -> Response:
        return Response(status_code=302, headers={"location": "https://xn--/ a"})

    async def drip(self, request: Request) -> Response:
        async def words():
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(words())

    async def flow(self, request: Request) -> Response:
        async def pieces():
            while True:
                yield bytes(65536)
                await asyncio.sleep(0)  # as below

        return StreamingResponse(pieces())

    async def slow(self, request: Request) -> Response:
        """Reads no body until it may."""
        self.reached.set()
        await asyncio.to_thread(self.may_read.wait, 30)
        return await self.tell(request)

    async def echo(self, socket: WebSocket) -> None:
        if socket.query_params.get("apikey") == "bad":
            await socket.send_denial_response(JSONResponse({"error": "API key is missing"}, 401))
            return
        await socket.accept(subprotocol=next(iter(socket.scope["subprotocols"]), None))
        if socket.query_params.get("apikey") == "flood":
            with suppress(OSError, WebSocketDisconnect):
                while True:
                    await socket.send_bytes(bytes(65536))
                    # A send alone lets nobody say that the other side is gone.
                    await asyncio.sleep(0)
            self.cut.set()
            return
        while (message := await socket.receive())["type"] == "websocket.receive":
            if message.get("text") == "bye":
                await socket.close(4001, "told so")
                return
            if message.get("text") is not None:
                await socket.send_text(f"{socket.url.query} {message['text']}")
            else:
                await socket.send_bytes(message["bytes"][::-1])

    async def moved(self, socket: WebSocket) -> None:
        if "elsewhere" in socket.url.path:
            self.seen.append(Request({**socket.scope, "type": "http"}))
        await socket.send_denial_response(RedirectResponse(f"{self.url}/realtime/v1/elsewhere"))


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


@pytest.fixture
def project() -> Iterator[Project]:
    project = Project()
    app = Starlette(
        routes=[
            Route("/rest/v1/rows", project.rows),
            Route("/storage/v1/object/public/part", project.part),
            Route("/auth/v1/away", project.away),
            Route("/storage/v1/object/public/drip", project.drip),
            Route("/storage/v1/object/public/flow", project.flow),
            Route("/storage/v1/object/slow", project.slow, methods=["POST"]),
            WebSocketRoute("/realtime/v1/websocket", project.echo),
            WebSocketRoute("/realtime/v1/moved", project.moved),
            WebSocketRoute("/realtime/v1/elsewhere", project.moved),
            Route("/{path:path}", project.tell, methods=METHODS),
        ]
    )
    with bound("127.0.0.1", free_port(), "project") as listener, serving(app, listener):
        project.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield project


@pytest.fixture
def edge(start_edge, project: Project) -> Edge:
    return start_edge(SUPABASE_UPSTREAM_URL=project.url)


@pytest.mark.parametrize("method", METHODS[:-1])
@pytest.mark.parametrize("service", ["auth", "rest", "storage", "graphql", "realtime"])
def test_a_request_arrives_as_it_was_sent(edge: Edge, service, method):
    target = f"/{service}/v1/a%2Fb%20c/?select=*%2Cimages%28*%29&x=%5B1%5D"
    answer = edge.client.request(
        method, f"{edge.url}{target}", content=b"body", headers={"apikey": "k", "prefer": "count=exact"}
    )  # fmt: skip
    told = answer.json()
    assert (told["method"], f"{told['path']}?{told['query']}") == (method, target)
    assert told["sha256"] == hashlib.sha256(b"body").hexdigest()
    assert told["headers"]["apikey"] == "k"
    assert told["headers"]["prefer"] == "count=exact"
    assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert told["headers"]["host"] != told["headers"]["x-forwarded-host"]
    assert "x-relay-error" not in answer.headers
    assert answer.headers.get_list("access-control-allow-origin") == ["https://app.test"]
    assert answer.headers["sb-request-id"]


def test_what_a_client_did_not_send_is_not_added(edge: Edge):
    bare = {"accept": "a/b", "accept-encoding": "identity", "user-agent": "app/1"}
    told = edge.client.get(f"{edge.url}/rest/v1/x", headers=bare).json()["headers"]
    assert {name: told[name] for name in bare} == bare
    assert "content-length" not in told
    assert "transfer-encoding" not in told


def test_a_large_upload_is_streamed_with_its_length(edge: Edge):
    chunk = b"0123456789abcdef" * 65536

    def chunks():
        for _ in range(BIG // len(chunk)):
            yield chunk

    answer = edge.client.post(
        f"{edge.url}/storage/v1/object/b/p", content=chunks(), headers={"content-length": str(BIG)}
    )
    told = answer.json()
    assert (told["size"], told["headers"]["content-length"]) == (BIG, str(BIG))
    assert told["sha256"] == hashlib.sha256(chunk * (BIG // len(chunk))).hexdigest()


def test_an_upload_that_waits_for_us_is_not_slow(edge: Edge, project: Project, monkeypatch):
    """Backpressure: the project reads nothing for many of the windows in which a client has to send something."""
    monkeypatch.setattr("functions.gateway.bounds.BODY_WINDOW_S", 0.05)
    ended, windows = HttpProtocol._end_body_window, threading.Semaphore(0)

    def end_body_window(self: HttpProtocol) -> None:
        windows.release()
        ended(self)

    monkeypatch.setattr(HttpProtocol, "_end_body_window", end_body_window)
    url = f"{edge.url}/storage/v1/object/slow"
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(edge.client.post, url, content=bytes(BIG))
        assert project.reached.wait(30)
        for _ in range(6):
            assert windows.acquire(timeout=30)
        project.may_read.set()
        assert answer.result().json()["size"] == BIG


def test_an_upload_that_stops_is_408(edge: Edge, project: Project, monkeypatch):
    monkeypatch.setattr("functions.gateway.bounds.BODY_WINDOW_S", 0.1)
    with dial(edge) as client:
        client.sendall(head("POST", "/storage/v1/object/b/p", "content-length: 99") + b"half")
        assert refusal(until_closed(client))[:2] == (408, "REQUEST_TIMEOUT")
    assert project.cut.wait(30)


def test_a_trailer_is_not_passed_on_as_a_header(edge: Edge, project: Project):
    with dial(edge) as client:
        client.sendall(
            head("POST", "/rest/v1/rows-of-others", "transfer-encoding: chunked", "trailer: apikey")
            + b"2\r\n{}\r\n0\r\nauthorization: Bearer trailer\r\nx-forwarded-for: 9.9.9.9\r\n\r\n"
        )
        assert b" 200 " in client.recv(65536)
    headers = project.seen[-1].headers
    assert "authorization" not in headers
    assert headers["x-forwarded-for"] == "127.0.0.1"


def test_what_comes_behind_a_download_is_bounded(edge: Edge):
    """Each piece of it asks whether the client is still there, which lets uvicorn read on."""
    with dial(edge) as client, ThreadPoolExecutor(1) as reader:
        client.sendall(head("GET", "/storage/v1/object/public/flow"))
        client.recv(65536)
        read = reader.submit(until_closed, client)
        assert pour(client, head("GET", "/health") * 500, BIG) < BIG
        read.result()


def test_a_range_is_answered_with_its_part(edge: Edge):
    answer = edge.client.get(
        f"{edge.url}/storage/v1/object/public/part", headers={"range": "bytes=2-4"}
    )
    assert (answer.status_code, answer.content) == (206, b"cde")
    assert answer.headers["content-range"] == "bytes 2-4/26"


def test_a_redirect_is_the_callers_to_judge(edge: Edge):
    """httpx cannot read this one; a mobile app's own scheme may be such as well."""
    with dial(edge) as connection:
        connection.sendall(head("GET", "/auth/v1/away", "connection: close"))
        said = until_closed(connection)
    assert said.startswith(b"HTTP/1.1 302 ")
    assert b"location: https://xn--/ a\r\n" in said


def test_an_answer_is_passed_on_while_it_is_made(edge: Edge, monkeypatch):
    monkeypatch.setattr("scripts.stack.GRACE_S", 0.1)  # it never ends
    with edge.client.stream("GET", f"{edge.url}/storage/v1/object/public/drip") as answer:
        assert next(answer.iter_raw()) == b"first"


def test_the_supabase_client_reads_rows_through_it(edge: Edge, project: Project):
    client = create_client(edge.url, edge.anon_key, ClientOptions(httpx_client=edge.client))
    assert client.table("rows").select("*").execute().data == [{"id": 1}]
    assert project.seen[-1].headers["apikey"] == edge.anon_key


def test_functions_stay_here(edge: Edge, project: Project):
    assert edge.post("unknown", {}).status_code == 404
    assert edge.post("process-jobs", {}, edge.service_role_key).status_code == 200
    assert not project.seen


def test_functions_that_are_not_ours_may_be_passed_on(start_edge, project: Project):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project.url, FORWARD_UNKNOWN_FUNCTIONS="true")
    told = edge.post("hello/world?x=1", {"a": 1}).json()
    assert (told["path"], told["query"]) == ("/functions/v1/hello/world", "x=1")
    assert edge.post("process-jobs", {}, edge.service_role_key).json()["success"] is True


def test_while_it_does_not_answer_it_is_502(start_edge):
    edge = start_edge(SUPABASE_UPSTREAM_URL=f"http://127.0.0.1:{free_port()}")
    answer = edge.client.get(f"{edge.url}/rest/v1/rows")
    assert (answer.status_code, answer.json()["code"]) == (502, "UPSTREAM_UNREACHABLE")
    assert answer.headers["access-control-allow-origin"] == "*"


def test_without_it_nothing_is_there(idle_edge: Edge):
    answer = idle_edge.client.get(f"{idle_edge.url}/graphql/v1/rows")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def socket_url(edge: Edge, query: str = "apikey=k&vsn=2.0.0") -> str:
    return f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket?{query}"


async def test_a_websocket_goes_both_ways(edge: Edge):
    async with connect(socket_url(edge), subprotocols=["phoenix"]) as remote:  # type: ignore[list-item]
        assert remote.subprotocol == "phoenix"
        await remote.send("hello")
        assert await remote.recv() == "apikey=k&vsn=2.0.0 hello"
        await remote.send(b"\x03\x00\x01")
        assert await remote.recv() == b"\x01\x00\x03"
        await remote.send("bye")
        with pytest.raises(ConnectionClosed):
            await remote.recv()
        assert (remote.close_code, remote.close_reason) == (4001, "told so")


async def test_a_websocket_that_is_cut_leaves_no_error(edge: Edge, project: Project, caplog):
    """In the middle of what it is told."""
    url = edge.url.replace("http", "ws")
    async with connect(f"{url}/realtime/v1/websocket?apikey=flood", proxy=None) as socket:
        await socket.recv()
        socket.transport.abort()
    assert await asyncio.to_thread(project.cut.wait, 30)
    assert [
        record for record in caplog.records if record.name == "functions.gateway.upstream"
    ] == []


async def test_a_refused_handshake_is_passed_on(edge: Edge):
    with pytest.raises(InvalidStatus) as refused:
        await connect(socket_url(edge, "apikey=bad"))
    assert refused.value.response.status_code == 401
    assert b"API key is missing" in (refused.value.response.body or b"")


async def test_a_refused_handshake_leaves_no_error(edge: Edge, caplog):
    with pytest.raises(InvalidStatus):
        await connect(socket_url(edge, "apikey=bad"))
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_a_handshake_that_is_redirected_is_told_so(edge: Edge, project: Project):
    with pytest.raises(InvalidStatus) as refused:
        await NotFollowing(f"{edge.url.replace('http', 'ws')}/realtime/v1/moved", proxy=None)
    assert refused.value.response.status_code == 307
    assert len(project.seen) == 0, "credentials go nowhere else"


class NotFollowing(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def test_no_frame_unfolds(edge: Edge):
    """Decompression bomb: a read of compressed frames inflates a thousandfold, before any token is checked."""
    async with connect(socket_url(edge), compression="deflate") as remote:
        assert remote.protocol.extensions == []


PING = b"\x89\xfd" + bytes(4) + bytes(125)
CLIENT = [
    "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
]  # fmt: skip


@pytest.mark.parametrize("between", [b"", b"\x81\x81" + bytes(4) + b"x"])
def test_who_pings_and_does_not_read_is_not_read_on(edge: Edge, between):
    with dial(edge) as client:
        client.sendall(head("GET", "/realtime/v1/websocket?apikey=k", *CLIENT))
        assert b" 101 " in client.recv(65536)
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            pour(client, PING * 500 + between, 2 * BIG)


def test_and_is_cut_off_in_the_end(edge: Edge, monkeypatch):
    monkeypatch.setattr("functions.gateway.bounds.UNREAD_S", 0.1)
    with dial(edge) as client:
        client.sendall(head("GET", "/realtime/v1/websocket?apikey=k", *CLIENT))
        assert b" 101 " in client.recv(65536)
        assert pour(client, PING * 500, 2 * BIG) < 2 * BIG


def test_a_client_that_hangs_up_in_its_upload_leaves_no_error(edge: Edge, project: Project, caplog):
    target = httpx.URL(edge.url)
    with socket.create_connection((target.host, target.port)) as client:
        client.sendall(
            b"POST /storage/v1/object/b/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\nhalf"
        )
    assert project.cut.wait(30)
    assert edge.client.get(f"{edge.url}/rest/v1/rows").status_code == 200
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


def test_functions_may_have_a_host_name_of_their_own(start_edge):
    edge = start_edge(FUNCTIONS_HOST="project.functions.test")
    headers = {"Host": "project.functions.test:443", "apikey": edge.anon_key}
    answer = httpx.post(f"{edge.url}/start-generation", json=BODY, headers=headers)
    assert answer.status_code == 200
    assert httpx.post(f"{edge.url}/start-generation", json=BODY).status_code == 404
