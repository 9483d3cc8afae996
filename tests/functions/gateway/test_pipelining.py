"""HTTP pipelining: requests are answered in order, independent of how TCP cuts them into reads."""

import asyncio
import random
import re
import socket
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.gateway.bounds import MAX_PIPELINED
from scripts.postgres import free_port
from scripts.stack import bound, serving


async def measure(scope, receive, send) -> None:
    """Answers ``<path> <size of the body>;``, at once or a little later."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    body = await Request(scope, receive).body()
    if len(body) % 2:
        await asyncio.sleep(0.001)
    await Response(f"{scope['path']} {len(body)};")(scope, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with bound("127.0.0.1", free_port(), "measure") as listener, serving(measure, listener):
        yield listener.getsockname()


def requests(chance: random.Random) -> tuple[bytes, bytes]:
    """The most requests that may be pipelined, and their responses."""
    sent, told = b"", b""
    for number in range(MAX_PIPELINED + 1):
        size = chance.choice([0, 3, 1000, 3001])
        if chance.random() < 0.5:
            sent += f"POST /{number} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n".encode()
            sent += b"G" * size  # what could be taken for a method
        else:
            sent += f"POST /{number} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            left = size
            while left:
                part = min(left, chance.randint(1, 900))
                sent += b"%x\r\n" % part + b"P" * part + b"\r\n"
                left -= part
            sent += b"0\r\n" + chance.choice([b"", b"x-trailer: 1\r\n"]) + b"\r\n"
        told += b"/%d %d;" % (number, size)
    return sent, told


@pytest.mark.parametrize("seed", range(40))
def test_every_cut(address, seed):
    chance = random.Random(seed)  # noqa: S311 - cuts, no secrets
    sent, told = requests(chance)
    answered = b""
    with socket.create_connection(address, timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while sent:
            size = chance.choice([1, 7, 50, 500, 5000, len(sent)])
            connection.sendall(sent[:size])
            sent = sent[size:]
        while answered.count(b";") < told.count(b";"):
            answered += connection.recv(65536) or b";" * len(told)
    assert b"".join(re.findall(rb"/\d+ \d+;", answered)) == told
