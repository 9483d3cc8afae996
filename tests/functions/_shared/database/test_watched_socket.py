"""Why a wait for a registered socket is bounded, and what it is bounded against."""

import asyncio
import socket
import struct

import uvloop

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def test_uvloop_calls_the_reader_of_a_reset_socket_once_and_no_more():
    """A byte is left to read, so that level-triggered polling would call it again and again, as asyncio does.

    Should this fail, uvloop has changed, and WatchedSocket needs no timer beside each statement.
    """
    assert uvloop.run(calls_after_reset()) == 1
    assert asyncio.run(calls_after_reset()) > 1


async def calls_after_reset() -> int:
    loop = asyncio.get_running_loop()
    calls = 0

    def on_readable() -> None:
        nonlocal calls
        calls += 1

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as watched,
    ):
        peer, _ = server.accept()
        with peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            peer.send(b"x")
        loop.add_reader(watched, on_readable)
        while not calls:  # noqa: ASYNC110 - each turn of the loop polls the sockets
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        loop.remove_reader(watched)
        assert watched.recv(1) == b"x"
    return calls
