"""The bound on what all slow readers of a process hold together (slow-read attack)."""

from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from functions._platform.realtime.buffers import Buffers, Frame
from tests.conftest import Edge
from tests.functions._platform.realtime.conftest import Socket

MEGABYTE = 1024 * 1024


class Reader:
    """A connection that reads nothing."""

    def __init__(self, buffers: Buffers) -> None:
        self.queued = 0
        self.frames: list[Frame] = []
        self.is_open = True
        self._buffers = buffers
        buffers.join(self)

    def send(self, *frame: str | bytes) -> None:
        if self.is_open:
            self.frames.append(frame)
            self.queued += sum(map(len, frame))
            self._buffers.add(frame)

    def drop(self) -> None:
        self.is_open = False
        for frame in self.frames:
            self._buffers.remove(frame)
        self.frames.clear()


def test_those_that_hold_most_are_closed_first():
    buffers = Buffers(10 * MEGABYTE)
    greedy, modest, idle = (Reader(buffers) for _ in range(3))
    idle.send("x" * 10)
    for number in range(10):
        greedy.send(f"{number}" + "x" * MEGABYTE)
        if number % 3 == 0:
            modest.send(f"{number}" + "y" * MEGABYTE)
    assert (greedy.is_open, modest.is_open, idle.is_open) == (False, True, True)
    assert buffers.total < 7.5 * MEGABYTE
    for reader in (modest, idle):
        reader.drop()
    assert buffers.total == 0


def test_a_text_that_all_share_counts_once():
    buffers = Buffers(10 * MEGABYTE)
    readers = [Reader(buffers) for _ in range(300)]
    row = "x" * MEGABYTE
    for number, reader in enumerate(readers):
        reader.send(f"[{number},", row, "]")
    assert all(reader.is_open for reader in readers)
    assert MEGABYTE < buffers.total < 1.2 * MEGABYTE
    for reader in readers:
        reader.drop()
    assert buffers.total == 0


def read_all(socket: Socket) -> None:
    for _ in range(20):
        socket.websocket.recv(timeout=10)


@pytest.mark.parametrize(
    "realtime",
    [{"REALTIME_MAX_TOTAL_BUFFER_MB": "16", "REALTIME_MAX_BUFFER_KB": "1000000"}],
    indirect=True,
)
def test_a_slow_reader_is_closed_with_a_reason_and_the_others_are_not(realtime: Edge):
    address = f"{realtime.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={realtime.anon_key}&vsn=2.0.0"
    with ExitStack() as stack:
        slow, quick, sender = (
            Socket(stack.enter_context(connect(address, max_queue=1, max_size=None)), "2.0.0")
            for _ in range(3)
        )
        slow.join("flood")
        quick.join("drops")
        for topic in ("flood", "drops"):
            sender.join(topic)
        for number in range(20):
            big = {"type": "broadcast", "event": "x", "payload": f"{number}" + "x" * 2 * MEGABYTE}
            sender.send("realtime:flood", "broadcast", big)
            sender.send("realtime:drops", "broadcast", {"type": "broadcast", "event": str(number)})
            assert quick.next()["payload"]["event"] == str(number)
        with pytest.raises(ConnectionClosed, match="slow consumer"):
            read_all(slow)
        assert quick.silent()
