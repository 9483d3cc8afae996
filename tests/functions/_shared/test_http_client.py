"""The HTTP client's transport against servers that send given bytes, over real sockets."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from functions._shared.http_client import BUFFER_BYTES, PIECE_BYTES, Transport, make_client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """``url``; ``connections``: how many were opened; ``open``: how many are; ``closed``: set once one has ended."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = self.open = 0
        self.closed = asyncio.Event()


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    running = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        running.open += 1
        tasks.add(task := asyncio.ensure_future(serve(reader, writer)))
        try:
            await task
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has closed
        finally:
            writer.close()
            await writer.wait_closed()
            running.open -= 1
            running.closed.set()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
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
async def made(
    most: int = 100, tls: ssl.SSLContext | None = None, **options: object
) -> AsyncIterator[httpx.AsyncClient]:
    tls = tls or ssl.create_default_context()
    async with httpx.AsyncClient(
        transport=Transport(tls, most), timeout=httpx.Timeout(20, **options)
    ) as http:
        yield http


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of pictures.example, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pictures.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    crt, pem = folder / "crt.pem", folder / "key.pem"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


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
    async with server(answering(answer)) as running, made() as http:
        for _ in range(2):
            response = await http.head(running.url)
            assert (response.headers["content-length"], response.content) == ("5", b"")
        assert running.connections == 1


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
        for url in (running.url, "http://there-is-no-such-host.invalid/"):
            with pytest.raises(httpx.ConnectError):
                await http.post(url)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_closed_by_its_server_costs_nothing(method):
    """Its end has not been seen by the event loop, when the next request begins."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await ended.wait()

    async with server(serve) as running, made() as http:
        for _ in range(3):
            assert (await http.request(method, running.url)).text == "ok"
            ended.set()
            while running.open:  # noqa: ASYNC110 - in this loop, nothing of the client's runs before it ends
                await asyncio.sleep(0)
            ended.clear()
        assert running.connections == 3


async def test_a_post_is_sent_once_where_its_connection_is_closed_unanswered():
    received = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        received += 1

    async with server(serve) as running, made() as http:
        await http.post(running.url)
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(running.url)
        assert received == 1


async def test_bytes_after_a_response_do_not_answer_the_next_request():
    forge, forged = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await forge.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        forged.set()
        await answering(OK)(reader, writer)

    async with server(serve) as running, made() as http:
        assert (await http.post(running.url)).text == "ok"
        forge.set()
        await forged.wait()
        for _ in range(3):
            assert (await http.post(running.url)).text == "ok"


async def test_a_body_until_the_end_of_the_connection_that_is_reset_is_an_error():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nok")
        await writer.drain()
        await began.wait()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    began = asyncio.Event()
    async with (
        server(serve) as running,
        made() as http,
        http.stream("GET", running.url) as response,
    ):
        body = response.aiter_raw()
        assert await anext(body) == b"ok"
        began.set()
        with pytest.raises(httpx.ReadError):
            await anext(body)


async def test_a_body_that_the_peer_does_not_read_is_a_write_timeout():
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with server(silent) as running, made(write=0.1) as http:
        with pytest.raises(httpx.WriteTimeout):
            await http.post(running.url, content=b"x" * 30_000_000)


async def test_a_large_body_arrives_as_it_is():
    body = bytes(range(256)) * 20_000
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.extend(await reader.readexactly(len(body)))
        writer.write(OK)

    assert len(body) > PIECE_BYTES
    async with server(serve) as running, made() as http:
        assert (await http.post(running.url, content=body)).text == "ok"
        assert received == body


async def test_what_the_iterator_of_a_body_raises_comes_through():
    async def parts() -> AsyncIterator[bytes]:
        yield b"ab"
        raise EOFError

    async with server(answering(b"")) as running, made() as http:
        with pytest.raises(EOFError):
            await http.post(running.url, content=parts())


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

    async with server(serve) as running, made() as http:
        async with http.stream("GET", running.url) as response:
            body = response.aiter_raw()
            read = len(await anext(body))
            async for chunk in body:
                read += len(chunk)
                assert (
                    len(chunk) < 2 * BUFFER_BYTES + 300_000
                )  # what one read of the socket may add
            assert read == size
        sent = 0
        async with http.stream("GET", running.url) as response:
            await anext(response.aiter_raw())
        assert sent < size / 2
        size = 0
        assert (await http.get(running.url)).status_code == 200
        assert running.connections == 3


async def test_the_target_is_sent_byte_for_byte_and_headers_as_httpx_makes_them():
    received = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        )
        await reader.read()

    async with server(serve) as running, made() as http:
        target = "a%2Fb/../%7Ec;d=1?token=x%3D%3D&sign=a+b%20c&e=%C3%A9"
        response = await http.post(running.url + target)
        assert response.reason_phrase == "Fine"
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    lines = received[0].decode().split("\r\n")
    assert lines[0] == "POST " + httpx.URL(running.url + target).raw_path.decode() + " HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        *("Host", "Accept", "Accept-Encoding", "Connection", "User-Agent", "Content-Length")
    }
    assert f"User-Agent: python-httpx/{httpx.__version__}" in lines


async def test_a_pinned_address_is_checked_by_its_name(certificate):
    """The URL has the address, ``sni_hostname`` the name that the certificate must have."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with server(answering(OK), serving) as running, made(tls=trusting) as http:
        url = running.url.replace("http:", "https:")
        pinned = {"extensions": {"sni_hostname": "pictures.example"}}
        assert (await http.get(url, **pinned)).text == "ok"
        for other in ({}, {"extensions": {"sni_hostname": "other.example"}}):
            with pytest.raises(httpx.ConnectError):
                await http.get(url, **other)


async def test_behind_a_proxy_httpx_has_its_own_transport(monkeypatch):
    tls = ssl.create_default_context()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    async with make_client(tls, httpx.Timeout(5)) as http:
        assert isinstance(http._transport, Transport)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with make_client(tls, httpx.Timeout(5)) as http:
        assert not isinstance(http._transport, Transport)
