"""What strangers send to drain or freeze a gateway: its memory, and how long others wait, beside the same without them.

Each attack has a gateway of its own, so that one does not pay for the others. Sizes grow with ``scale`` (1.0: as they
were tried on the first versions, where the same cost up to 3 GB, or all answers for good).
"""

import base64
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psycopg

from scripts.bench.children import Gateway, gateway, outside, percentiles

MODEL = "black-forest-labs/flux-kontext-pro"
EMPTY = "truncate public.job_queue, public.predictions, public.image_generations cascade"
EVERY_S = 0.01
"""How often /health is asked meanwhile."""
MB = 1 << 20
QUIET_S = 3.0
"""Since the last request of an attack: what it queued has been worked at by then."""


@dataclass(frozen=True)
class Row:
    """``rss_mb``: before, and the most since the start. ``/health``: percentiles of all that were asked meanwhile."""

    name: str
    rss_mb: float
    peak_mb: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


def hostile(url: str, scale: float) -> Iterator[Row]:
    """The floor, then every attack; ``url`` is the database's."""
    for name, attack in ATTACKS.items():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(EMPTY)  # what an attack has queued is no other's
        # Predictions that never end keep an event stream open; sources are judged before any is made.
        with outside(3600) as provider, gateway({"SUPABASE_DB_URL": url, **provider}) as edge:
            before = edge.rss_mb()
            with _asked_meanwhile(edge) as waits:
                attack(edge, scale)
                time.sleep(QUIET_S)
            p50, p99 = percentiles(waits)
            yield Row(name, before, edge.peak_mb(), p50, p99, max(waits))


class _asked_meanwhile:
    """Ask for /health until the block ends; how long each answer took, in milliseconds."""

    def __init__(self, edge: Gateway) -> None:
        self._edge = edge
        self._waits: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self._waits

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._over.is_set():
                began = time.monotonic()
                with suppress(httpx.HTTPError):  # as long as it took to fail
                    client.get(f"{self._edge.url}/health")
                self._waits.append((time.monotonic() - began) * 1000)
                self._over.wait(EVERY_S)


def nothing(edge: Gateway, scale: float) -> None:
    """The floor."""


def comments(edge: Gateway, scale: float) -> None:
    """ReDoS: an SVG that never begins, behind comments."""
    _start(edge, f"data:image/svg+xml,{'<!---->' * int(10_000 * scale)}x")


def bombs(edge: Gateway, scale: float) -> None:
    """Decompression bombs: six pictures of 13,300 x 13,300 pixels in 0.7 MB each."""
    source = f"data:image/png;base64,{base64.b64encode(_blank(int(13_300 * scale**0.5))).decode()}"
    for _ in range(6):
        _start(edge, source)


def one_source(edge: Gateway, scale: float) -> None:
    """Fifty prompts for one source of 0.7 MB."""
    noise = base64.b64encode(zlib.compress(b"x") + bytes(int(0.5 * MB * min(scale, 1)))).decode()
    _start(edge, f"data:image/png;base64,{noise}", prompt=["a fox"] * 50)


def trailers(edge: Gateway, scale: float) -> None:
    """Without a login: a chunked body, then 100 MB of trailer lines."""
    head = _head("POST", "start-generation", "Transfer-Encoding: chunked")
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 200) for number in range(300))
    _pour(edge, head + b"2\r\n{}\r\n0\r\n", lines, 100 * scale)


def one_trailer(edge: Gateway, scale: float) -> None:
    head = _head("POST", "start-generation", "Transfer-Encoding: chunked")
    _pour(edge, head + b"2\r\n{}\r\n0\r\nx: ", b"a" * 65536, 20 * scale)


def behind_gzip(edge: Gateway, scale: float) -> None:
    """Bytes behind the gzip member, which no output accounts for."""
    gzip = zlib.compressobj(wbits=31)
    member = gzip.compress(b"{}") + gzip.flush()
    head = _head(
        "POST", "process-generation/webhook", "Transfer-Encoding: chunked", "Content-Encoding: gzip"
    )
    _pour(edge, head + _chunk(member), _chunk(b"z" * 65536), 40 * scale)


def behind_a_stream(edge: Gateway, scale: float) -> None:
    """A head without an end, pipelined behind an event stream."""
    generation_id = _start(edge, None)
    head = _head("GET", f"start-generation/{generation_id}/events", f"apikey: {edge.anon_key}")
    _pour(edge, head + b"GET /health HTTP/1.1\r\nHost: x\r\nx-long: ", b"a" * 65536, 30 * scale)


def unfinished(edge: Gateway, scale: float) -> None:
    """A thousand refused requests whose bodies never end."""
    with _Opened(edge) as opened:
        for _ in range(int(1000 * scale)):
            opened.dial(_head("POST", "start-generation", "Content-Length: 1000") + b"x")


def odd_tokens(edge: Gateway, scale: float) -> None:
    """Tokens whose algorithm is a list."""
    token = b".".join(map(base64.urlsafe_b64encode, (b'{"alg":["x"]}', b"{}", b"x"))).decode()
    headers = {"Authorization": f"Bearer {token.replace('=', '')}"}
    with httpx.Client(timeout=60, headers=headers) as client:
        for _ in range(int(500 * scale)):
            client.post(f"{edge.url}/functions/v1/start-generation")


def endless_answers(edge: Gateway, scale: float) -> None:
    """A provider, or who poses as one, that answers eight polls without end."""
    for number in range(max(1, int(8 * scale))):
        _start(edge, None, prompt=f"{number} [fault:endless-answer]")
    time.sleep(5 * scale)


ATTACKS: dict[str, Callable[[Gateway, float], None]] = {
    "floor: nothing": nothing,
    "an SVG behind 10,000 comments": comments,
    "six pictures of 13,300² pixels": bombs,
    "50 prompts for one source of 0.7 MB": one_source,
    "100 MB of trailers": trailers,
    "one trailer of 20 MB": one_trailer,
    "40 MB behind a gzip member": behind_gzip,
    "30 MB of head behind an event stream": behind_a_stream,
    "1,000 refused bodies that never end": unfinished,
    "500 tokens with a list as algorithm": odd_tokens,
    "8 endless answers of the provider": endless_answers,
}


def _start(edge: Gateway, source: str | None, **changes: object) -> str:
    body = {"prompt": "a fox", "model_id": MODEL, **changes}
    answer = httpx.post(
        f"{edge.url}/functions/v1/start-generation",
        json=body if source is None else {**body, "source_image_url": source},
        headers={"Authorization": f"Bearer {edge.anon_key}"},
        timeout=60,
    )
    return str(answer.json().get("generation_id"))


def _head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join(
        [f"{method} /functions/v1/{path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]
    ).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _pour(edge: Gateway, head: bytes, piece: bytes, megabytes: float) -> None:
    """``head``, and then ``piece`` again and again, until that much is sent or nothing more is taken."""
    with _Opened(edge) as opened:
        stream = opened.dial(head)
        with suppress(OSError):
            for _ in range(max(1, int(megabytes * MB / len(piece)))):
                stream.sendall(piece)


class _Opened:
    """Connections that are closed at the end; answers are not read."""

    def __init__(self, edge: Gateway) -> None:
        self._address = ("127.0.0.1", urlsplit(edge.url).port or 0)
        self._streams: list[socket.socket] = []

    def __enter__(self) -> "_Opened":
        return self

    def dial(self, first: bytes) -> socket.socket:
        stream = socket.create_connection(self._address, timeout=5)
        self._streams.append(stream)
        stream.sendall(first)
        return stream

    def __exit__(self, *_: object) -> None:
        time.sleep(1)  # what was sent has been read
        for stream in self._streams:
            stream.close()


def _blank(side: int) -> bytes:
    """A PNG of ``side``² transparent pixels, which deflate to a thousandth."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + 4 * side)
    data = b"".join(deflate.compress(row) for _ in range(side)) + deflate.flush()
    size = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
