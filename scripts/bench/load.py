"""The load generator: closed-loop requests from a process of its own, whose CPU time is measured as well.

Written here, as wrk is no Python package, and the load generators among the Python packages need several times the
CPU time of the server under test.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from scripts.bench.children import child_process, percentiles
from scripts.bench.closed_loop import Call, ClosedLoop

WARM_UP_S = 0.5
"""Connection pools are opened, statements prepared, and a peer's code compiled, by the first requests."""


@dataclass(frozen=True)
class Load:
    """Throughput and latency of one closed-loop load, and the generator's share of a core in percent."""

    name: str
    connections: int
    per_second: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    generator: float | None = None


class Generator:
    """A running load generator."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def load(
        self,
        calls: Mapping[str, Call],
        connections: int,
        seconds: float,
        warm_up_s: float = WARM_UP_S,
    ) -> list[Load]:
        """One row for each of ``calls``, by name, ``seconds`` each.

        They take turns of a second, so that whatever else the machine does meets all of them. Raises EOFError where a
        server refuses a call: its answer is on stderr.
        """
        self._pipe.send(([*calls.values()], connections, seconds, warm_up_s))
        runs: list[tuple[list[float], float, float]] = self._pipe.recv()
        return [measured(name, connections, *run) for name, run in zip(calls, runs, strict=True)]


@contextmanager
def generator() -> Iterator[Generator]:
    """Start one; it runs until the block ends."""
    with child_process(_generate) as pipe:
        yield Generator(pipe)


def load(calls: Mapping[str, Call], connections: int, seconds: float) -> list[Load]:
    """``Generator.load`` of a generator that runs for this alone."""
    with generator() as started:
        return started.load(calls, connections, seconds)


def measured(
    name: str, connections: int, latencies: list[float], seconds: float, cpu_s: float = 0
) -> Load:
    """The row of ``latencies``, in seconds, that were seen within ``seconds``."""
    p50, p99 = percentiles(latencies)
    rate = len(latencies) / seconds
    return Load(name, connections, rate, p50 * 1000, p99 * 1000, 100 * cpu_s / seconds)


def _generate(pipe: Connection) -> None:
    """For each load that comes through ``pipe``: latencies in seconds, the time and the CPU time that they took."""

    async def run(
        calls: list[Call], connections: int, seconds: float, warm_up_s: float
    ) -> list[ClosedLoop]:
        loops = [ClosedLoop(call) for call in calls]
        for each in loops:
            await each.open(connections)
            await each.run(warm_up_s)
            each.forget()
        turns = max(1, round(seconds))
        for _ in range(turns):
            for each in loops:
                await each.run(seconds / turns)
        for each in loops:
            each.close()
        await asyncio.sleep(0)  # the connections are closed
        return loops

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while True:
            loops = runner.run(run(*pipe.recv()))
            pipe.send([(each.latencies, each.seconds, each.cpu_s) for each in loops])
