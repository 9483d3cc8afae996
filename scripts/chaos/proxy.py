"""A TCP proxy before PostgreSQL with network faults: a partition, or lost answers after COMMIT."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.postgres import free_port


class Proxy:
    """Forwards ``port`` to ``upstream_port`` on loopback. Faults are switched from any thread."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_port()
        self.lost = 0
        """Number of answers lost so far."""
        self.has_lost = threading.Event()
        self.upstream_port = upstream_port
        """Of new connections; those that are open stay where they are, as behind an address that moves (VIP)."""
        self._losing = False
        self._open: set[asyncio.StreamWriter] = set()
        self.ready = threading.Event()

    def silent(self, silent: bool) -> None:
        """Network partition: accept data and forward none in either direction, without closing (half-open)."""
        self._loop.call_soon_threadsafe(self._flowing.clear if silent else self._flowing.set)

    def lose_answers(self, losing: bool) -> None:
        """Forward requests, and reset each connection when its answer arrives: the server has done the work."""
        self._losing = losing

    def cut(self) -> None:
        """Reset every open connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._flowing, self._stopping = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        pairs: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pair = asyncio.create_task(self._pair(reader, writer))
            pairs.add(pair)
            pair.add_done_callback(pairs.discard)
            # A task that is cancelled before its first step runs no `finally`: accepted as the proxy stops.
            pair.add_done_callback(lambda _: writer.transport.abort())

        server = await asyncio.start_server(accept, "127.0.0.1", self.port)
        self.ready.set()
        await self._stopping.wait()
        server.close()
        self._flowing.set()
        for _ in range(
            5
        ):  # turns of the loop: what was accepted as the proxy stops is a pair after two of them
            await asyncio.sleep(0)
        self._cut()
        while pairs:
            await asyncio.gather(*pairs)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _pair(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        self._open.add(writer)
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self.upstream_port)
            writers.append(requests)
            self._open.add(requests)
            await asyncio.gather(
                self._pump(reader, requests, writers, is_answer=False),
                self._pump(answers, writer, writers, is_answer=True),
            )
        except OSError:
            pass  # PostgreSQL does not accept connections
        finally:
            for end in writers:
                end.transport.abort()
                self._open.discard(end)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: list[asyncio.StreamWriter],
        *,
        is_answer: bool,
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                if is_answer and self._losing:
                    self.lost += 1
                    self.has_lost.set()
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # a side closed its connection
        finally:
            for end in ends:
                end.transport.abort()

    def run(self) -> None:
        asyncio.run(self.serve())


@contextmanager
def proxied(upstream_port: int) -> Iterator[Proxy]:
    """Run a proxy in a thread until the block ends."""
    proxy = Proxy(upstream_port)
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    proxy.ready.wait()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(timeout=5)
