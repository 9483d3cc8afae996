"""The HTTP client's transport against servers that send given bytes, over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from functions._shared.http import transport
from functions._shared.http.connection import BUFFERED_BYTES
from functions._shared.http.transport import Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """``url``; ``connections``: how many were opened."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[Server]:
    running = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        tasks.add(task := asyncio.ensure_future(serve(reader, writer)))
        try:
            await task
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has closed
        finally:
            writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    running.url = "http://127.0.0.1:{1}/".format(*listening.sockets[0].getsockname())
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        listening.close()


def answering(*answers: bytes, close: bool = False) -> Serve:
    """One answer to each request, in turn, the last one again and again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()
            if close:
                return

    return serve


@asynccontextmanager
async def made(most: int = 100, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    tls = ssl.create_default_context()
    async with httpx.AsyncClient(
        transport=Transport(tls, most), timeout=httpx.Timeout(20, **options)
    ) as http:
        yield http


async def test_a_connection_is_kept_for_the_next_request():
    async with server(answering(OK)) as running, made() as http:
        for _ in range(5):
            assert (await http.get(running.url)).text == "ok"
        assert running.connections == 1
        await asyncio.gather(*(http.get(running.url) for _ in range(3)))
        assert running.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_kept(answer):
    async with server(answering(answer)) as running, made() as http:
        for _ in range(2):
            assert (await http.get(running.url)).text == "ok"
        assert running.connections == 2


async def test_a_connection_that_its_server_has_closed_is_not_used():
    async with server(answering(OK, close=True)) as running, made() as http:
        for _ in range(2):
            assert (await http.post(running.url, json={})).text == "ok"
            for _, _, kept in http._transport._idle:
                while not kept.closed:  # noqa: ASYNC110 - the event loop has not seen its end yet
                    await asyncio.sleep(0)
        assert running.connections == 2


async def test_an_idle_connection_is_closed_after_its_time(monkeypatch):
    async with server(answering(OK)) as running, made() as http:
        await http.get(running.url)
        monkeypatch.setattr(transport, "KEPT_S", -1.0)
        await http.get(running.url)
        assert running.connections == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
            "ok",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nok", "ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, "ok"),
        (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", ""),
    ],
)
async def test_every_framing_of_a_body_is_read(answer, text):
    async with server(answering(answer, close=True)) as running, made() as http:
        response = await http.get(running.url)
        assert (response.text, "link" in response.headers) == (text, False)


async def test_the_answer_to_head_has_no_body():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with server(answering(answer, answer + b"never")) as running, made() as http:
        for _ in range(2):
            response = await http.head(running.url)
            assert (response.headers["content-length"], response.content) == ("5", b"")
        assert running.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", httpx.RemoteProtocolError),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
            httpx.RemoteProtocolError,
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", httpx.RemoteProtocolError),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            httpx.RemoteProtocolError,
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_what_is_no_whole_response_is_an_error(answer, error):
    async with server(answering(answer, close=True)) as running, made() as http:
        with pytest.raises(error):
            await http.get(running.url)


async def test_an_early_refusal_is_read_though_the_request_is_not():
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    async with server(answering(refusal)) as running, made() as http:
        response = await http.post(running.url, content=b"x" * 30_000_000)
        assert (response.status_code, response.text) == (413, "no")
        assert (await http.get(running.url)).status_code == 413
        assert running.connections == 2  # the first is in the middle of a body


async def test_a_body_of_unknown_length_is_sent_in_chunks():
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(OK)
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b""
        yield b"cde"

    async with server(serve) as running, made() as http:
        assert (await http.post(running.url, content=parts())).text == "ok"
        assert received.endswith(b"\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")


async def test_a_body_that_is_not_read_is_not_received():
    size, sent = 50_000_000, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with (
        server(serve) as running,
        made() as http,
        http.stream("GET", running.url) as response,
    ):
        body = response.aiter_raw()
        read = len(await anext(body))
        exchange = response.stream._stream._exchange  # httpx's wrapper of ours
        most = 0
        async for chunk in body:
            read += len(chunk)
            most = max(most, exchange.buffered)
        assert read == size
        assert most < BUFFERED_BYTES + 1_000_000


async def test_line_breaks_are_not_sent_in_a_header():
    async with server(answering(OK)) as running, made() as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.get(running.url, headers={"X": "a\r\nHost: b"})


async def test_requests_beyond_the_most_wait_for_a_connection():
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        await answering(OK)(_again(reader), writer)

    def _again(reader: asyncio.StreamReader) -> asyncio.StreamReader:
        again = asyncio.StreamReader()
        again.feed_data(b"\r\n\r\n")
        return again

    async with server(serve) as running, made(most=1, pool=0.05) as http:
        first = asyncio.create_task(http.get(running.url))
        while not running.connections:  # noqa: ASYNC110 - the server's counter has no event
            await asyncio.sleep(0)
        with pytest.raises(httpx.PoolTimeout):
            await http.get(running.url)
        release.set()
        assert (await first).text == "ok"


async def test_a_cancelled_request_leaves_no_connection_and_no_place_taken():
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as running, server(answering(OK)) as good, made(most=1) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await http.get(running.url)
        with pytest.raises(httpx.ReadTimeout):
            await http.get(running.url, timeout=0.05)
        assert (await http.get(good.url)).text == "ok"
        assert running.connections == 2


async def test_a_port_without_a_server_is_a_connect_error():
    async with server(answering(OK)) as running:
        pass
    async with made() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(running.url)


async def test_behind_a_proxy_httpx_has_its_own_transport(monkeypatch):
    tls = ssl.create_default_context()
    monkeypatch.setenv("NO_PROXY", "localhost")
    async with transport.client(tls, httpx.Timeout(5), 10) as http:
        assert isinstance(http._transport, Transport)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with transport.client(tls, httpx.Timeout(5), 10) as http:
        assert not isinstance(http._transport, Transport)
