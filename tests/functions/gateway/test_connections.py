"""Bounds on a connection: slowloris, slow POST, slow read, pipelining, trailers, lingering close, websockets."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from functions._shared.errors import InvalidRequest
from functions.gateway.bounds import MAX_HEAD_BYTES, MAX_PIPELINED
from functions.gateway.http_protocol import HttpProtocol
from tests.conftest import Edge
from tests.functions.gateway.raw import dial, head, pour, refusal, until_closed
from tests.help import BODY

MIB = 1024 * 1024
START = "/functions/v1/start-generation"
CHUNKED = "transfer-encoding: chunked"
HEALTH = head("GET", "/health")
PIECE = b"a" * 65536


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lingering close that is short."""
    monkeypatch.setattr("functions.gateway.bounds.LINGER_SILENT_S", 0.1)
    monkeypatch.setattr("functions.gateway.bounds.LINGER_BYTES", MIB)


@pytest.fixture
def connection(idle_edge: Edge) -> Iterator[socket.socket]:
    with closing(dial(idle_edge)) as connection:
        yield connection


@pytest.fixture
def listening(idle_edge: Edge, connection: socket.socket) -> socket.socket:
    """A connection whose response, an event stream, is under way and does not end."""
    connection.sendall(events_of(idle_edge))
    assert b" 200 " in connection.recv(65536)
    return connection


def events_of(edge: Edge, *lines: str) -> bytes:
    started = edge.post("start-generation", BODY).json()["generation_id"]
    return head("GET", f"{START}/{started}/events", signed_in(edge), *lines)


def signed_in(edge: Edge) -> str:
    return f"authorization: Bearer {edge.user_token()}"


ENDLESS = {
    "trailers": (b"2\r\n{}\r\n0\r\n", b"".join(b"x-%d: %b\r\n" % (n, bytes(200).hex().encode()) for n in range(99))),
    "one trailer": (b"2\r\n{}\r\n0\r\nx: ", PIECE),
    "a chunk's extensions": (b"2;x=", PIECE),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDLESS)
def test_what_frames_a_body_is_bounded(idle_edge: Edge, connection, quick, case):
    begin, piece = ENDLESS[case]
    connection.sendall(head("POST", START, CHUNKED, signed_in(idle_edge)) + begin)
    assert pour(connection, piece, 8 * MAX_HEAD_BYTES) >= MAX_HEAD_BYTES  # and what one read brings
    status, code, headers = refusal(until_closed(connection))
    assert (status, code) == (431, "HEADERS_TOO_LARGE")
    assert b"connection: close" in headers
    assert b"access-control-allow-origin: *" in headers


@pytest.mark.parametrize("case", ENDLESS)
@pytest.mark.parametrize("signed", [True, False])
def test_it_is_not_read_for_ever_either(idle_edge: Edge, connection, quick, case, signed):
    begin, piece = ENDLESS[case]
    lines = [CHUNKED, *([signed_in(idle_edge)] if signed else [])]
    connection.sendall(head("POST", START, *lines) + begin)
    assert pour(connection, piece, 32 * MIB) < 32 * MIB


def test_many_small_chunks_are_no_extensions(idle_edge: Edge, connection):
    chunks = b"1\r\n \r\n" * (MAX_HEAD_BYTES // 2)
    lines = [CHUNKED, signed_in(idle_edge), "connection: close"]
    connection.sendall(head("POST", START, *lines) + chunks + b"2\r\n{}\r\n0\r\n\r\n")
    assert refusal(until_closed(connection))[:2] == (400, "INVALID_REQUEST")


def test_a_trailer_is_no_header(idle_edge: Edge, connection):
    trailer = f"{signed_in(idle_edge)}\r\n\r\n".encode()
    connection.sendall(head("POST", START, CHUNKED) + b"2\r\n{}\r\n0\r\n" + trailer)
    assert b" 401 " in connection.recv(65536)


def test_a_trailer_is_none_of_the_next_request_either(idle_edge: Edge, connection):
    connection.sendall(
        head("POST", "/functions/v1/process-jobs", CHUNKED, f"apikey: {idle_edge.service_role_key}")
        + b"0\r\n"
        + f"{signed_in(idle_edge)}\r\n\r\n".encode()
    )
    assert b" 200 " in connection.recv(65536)
    connection.sendall(head("POST", START, "content-length: 2", "connection: close") + b"{}")
    assert refusal(until_closed(connection))[0] == 401


BEHIND = {
    "a head without an end": (b"GET /health HTTP/1.1\r\nx: ", PIECE),
    "heads": (b"", HEALTH * 1000),
    "a body": (head("POST", "/health", "content-length: 99999999999"), PIECE),
    "empty lines": (b"", b"\r\n" * 20_000),
}


@pytest.mark.parametrize("case", BEHIND)
def test_what_comes_behind_an_answer_under_way_is_bounded(listening, case):
    begin, piece = BEHIND[case]
    listening.sendall(begin)
    assert pour(listening, piece, 16 * MIB) < 16 * MIB


def test_so_many_whole_requests_may_wait_for_an_answer(idle_edge: Edge, connection):
    connection.sendall(events_of(idle_edge) + HEALTH * (MAX_PIPELINED + 1))
    said = until_closed(connection)
    assert b"HTTP/1.1 400" not in said, "an answer in the middle of another's"


def test_requests_that_come_at_once_are_answered_in_order(idle_edge: Edge, connection):
    empty = head("POST", START, "content-length: 0", signed_in(idle_edge))
    connection.sendall(HEALTH + empty + HEALTH + head("GET", "/none", "connection: close"))
    statuses = re.findall(rb"HTTP/1.1 (\d+)", until_closed(connection))
    assert statuses == [b"200", b"400", b"200", b"404"]


def test_who_is_gone_is_not_answered_on_though_another_request_waited_behind(
    idle_edge: Edge, connection, monkeypatch
):
    gone = threading.Event()
    close = "functions.start_generation.streams.Streams.close"
    monkeypatch.setattr(close, lambda *_: gone.set())
    connection.sendall(events_of(idle_edge) + HEALTH)
    assert b" 200 " in connection.recv(65536)
    connection.close()
    assert gone.wait(10)


# Early responses: the request is still arriving (lingering close)


UNFINISHED = {
    "silent": b"",
    "one byte more": b"x",
}
REFUSED = {
    "without a token": (head("POST", START, "content-length: 99"), 401),
    "at no address": (head("POST", "/none", CHUNKED) + b"5\r\na", 404),
    "to Storage": (head("POST", "/storage/v1/object/generated-images/a.png", "content-length: 99"), 400),
    "with a GET": (head("GET", "/health", "content-length: 99"), 200),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("then", UNFINISHED)
def test_who_does_not_end_an_answered_request_is_hung_up_on(connection, quick, case, then):
    request, status = REFUSED[case]
    connection.sendall(request)
    said = connection.recv(65536)
    connection.sendall(UNFINISHED[then])
    said += until_closed(connection)
    assert int(said.split()[1]) == status
    assert b"\r\nconnection: close\r\n" in said.lower()


def test_nor_for_dripping_on(connection, quick, monkeypatch):
    monkeypatch.setattr("functions.gateway.bounds.LINGER_S", 0.3)
    connection.sendall(REFUSED["without a token"][0])
    assert b" 401 " in connection.recv(65536)
    assert connection.recv(65536) == b"", "the end of the answer is told"
    assert pour(connection, b"x", 10_000, pause_s=0.01) < 10_000


def test_nor_for_all_that_it_sends(connection, quick):
    connection.sendall(head("POST", START, "content-length: 99999999999"))
    assert pour(connection, PIECE, 32 * MIB) < 32 * MIB


def test_a_stream_does_not_read_a_body_for_ever(idle_edge: Edge, connection, quick):
    connection.sendall(events_of(idle_edge, "content-length: 99999999999"))
    assert pour(connection, PIECE, 32 * MIB) < 32 * MIB


# Slow POST


UPLOADS = {
    "plain": [],
    "a form": ["content-type: multipart/form-data; boundary=b"],
}


def upload_to(edge: Edge, *lines: str) -> bytes:
    path = "/storage/v1/object/generated-images/a.png"
    return head("POST", path, f"authorization: Bearer {edge.service_role_key}", *lines)


@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("framed", ["content-length: 99", CHUNKED])
def test_an_upload_that_stops_is_408(idle_edge: Edge, connection, monkeypatch, kind, framed):
    monkeypatch.setattr("functions.gateway.bounds.BODY_WINDOW_S", 0.1)
    begun = b"--b" if framed != CHUNKED else b"3\r\n--b\r\n"
    connection.sendall(upload_to(idle_edge, framed, *UPLOADS[kind]) + begun)
    assert refusal(until_closed(connection))[:2] == (408, "REQUEST_TIMEOUT")


def test_trailers_that_stop_are_408(idle_edge: Edge, connection, monkeypatch):
    monkeypatch.setattr("functions.gateway.bounds.BODY_WINDOW_S", 0.1)
    connection.sendall(head("POST", START, CHUNKED, signed_in(idle_edge)) + b"0\r\nx: ")
    assert refusal(until_closed(connection))[:2] == (408, "REQUEST_TIMEOUT")


def test_an_upload_that_drips_has_an_end(idle_edge: Edge, connection, monkeypatch):
    monkeypatch.setattr("functions._platform.storage.staging.UPLOAD_S", 0.1)
    connection.sendall(upload_to(idle_edge, "content-length: 99") + b"x")
    said = until_closed(connection)
    assert b'"statusCode":"408"' in said


def test_who_waits_for_leave_to_send_its_body_is_not_slow(idle_edge: Edge, connection, monkeypatch):
    """Expect: 100-continue, while the gateway still checks the token."""
    monkeypatch.setattr("functions.gateway.bounds.BODY_WINDOW_S", 0.05)
    windows, done = threading.Semaphore(0), threading.Event()
    ended = HttpProtocol._end_body_window

    def end_body_window(self: HttpProtocol) -> None:
        windows.release()
        ended(self)

    async def slowly(*_: object) -> object:
        await asyncio.to_thread(done.wait, 30)
        raise InvalidRequest("done")

    monkeypatch.setattr(HttpProtocol, "_end_body_window", end_body_window)
    monkeypatch.setattr("functions._shared.auth.authenticator.Authenticator.user", slowly)
    connection.sendall(head("POST", START, "content-length: 2", "expect: 100-continue"))
    for _ in range(4):
        assert windows.acquire(timeout=10)
    done.set()
    assert refusal(until_closed(connection))[0] == 400


# Websockets


HANDSHAKE = [
    "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
]  # fmt: skip


ODD_HANDSHAKES = {"a body": "content-length: 99999999999", "a long line": f"x: {'a' * 9000}"}


@pytest.mark.parametrize("case", ODD_HANDSHAKES)
def test_a_handshake_that_cannot_be_read_is_refused(connection, case):
    lines = [*HANDSHAKE, ODD_HANDSHAKES[case]]
    connection.sendall(head("GET", "/realtime/v1/websocket", *lines))
    assert refusal(until_closed(connection))[:2] == (400, "INVALID_REQUEST")


def test_it_has_no_body_in_chunks_either(connection, quick):
    connection.sendall(head("POST", "/realtime/v1/websocket", *HANDSHAKE, CHUNKED))
    assert pour(connection, b"10000\r\n" + PIECE + b"\r\n", 32 * MIB) < 32 * MIB


def test_an_answer_under_way_does_not_become_a_websocket(idle_edge: Edge, connection):
    websocket = head("GET", "/realtime/v1/websocket", *HANDSHAKE)
    connection.sendall(events_of(idle_edge) + websocket)
    assert b"HTTP/1.1 403" not in until_closed(connection)


# Slow read


def test_who_does_not_read_is_cut_off(idle_edge: Edge, monkeypatch):
    lost = threading.Event()
    monkeypatch.setattr("functions.gateway.bounds.UNREAD_S", 0.1)
    size = 16 * MIB
    put = idle_edge.client.post(
        f"{idle_edge.url}/storage/v1/object/generated-images/a.png",
        content=bytes(size),
        headers={"authorization": f"Bearer {idle_edge.service_role_key}"},
    )
    assert put.status_code == 200
    connection_lost = HttpProtocol.connection_lost

    def noted(self: HttpProtocol, exc: Exception | None) -> None:
        connection_lost(self, exc)
        lost.set()

    monkeypatch.setattr(HttpProtocol, "connection_lost", noted)
    with closing(dial(idle_edge)) as connection:
        connection.sendall(head("GET", "/storage/v1/object/public/generated-images/a.png"))
        assert lost.wait(10)
        assert len(until_closed(connection)) < size


def test_a_small_answer_is_one_write(connection: socket.socket):
    """The client would be woken for a head without its body."""
    for _ in range(20):
        connection.sendall(HEALTH)
        assert b"}" in connection.recv(65536).partition(b"\r\n\r\n")[2]


def test_a_head_with_nothing_behind_it_is_sent_as_well(connection: socket.socket):
    connection.sendall(head("HEAD", "/health"))
    assert b" 200 " in connection.recv(65536)
