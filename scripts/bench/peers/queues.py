"""The job queues among the peers: how each is run, and what make bench measures of it."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from scripts.bench.children import percentiles
from scripts.bench.figures import PEER, Row
from scripts.bench.options import Bench
from scripts.bench.peers.install import Tools, installed
from scripts.bench.peers.programme import Programme, programme, run

PROCESSES = {1: "1 process", 2: "2 processes"}


@dataclass(frozen=True)
class Kind:
    """A peer: its programme, the query for a job that is not done, its tables, its speed.

    ``share``: of the jobs that the fastest are given; a slow one would drain them for minutes.
    """

    name: str
    file: str
    left: str
    tables: str
    share: float


KINDS = (
    Kind(
        "graphile-worker",
        "graphile_worker.mjs",
        "select 1 from graphile_worker._private_jobs limit 1",
        "graphile_worker._private_jobs",
        1,
    ),
    Kind(
        "pg-boss",
        "pg_boss.mjs",
        "select 1 from pgboss.job where state < 'completed' limit 1",
        "pgboss.job",
        0.2,
    ),
    Kind(
        "procrastinate",
        "procrastinate_queue.py",
        "select 1 from procrastinate_jobs where status in ('todo', 'doing') limit 1",
        "procrastinate_jobs, procrastinate_events",
        0.02,
    ),
    Kind(
        "pgqueuer",
        "pgqueuer_queue.py",
        "select 1 from pgqueuer limit 1",
        "pgqueuer, pgqueuer_log",
        0.05,
    ),
)


class Peer:
    """One queue in a database of its own on the bench's server, with a client that runs all the time."""

    def __init__(self, kind: Kind, tools: Tools, url: str, stack: ExitStack) -> None:
        self.kind = kind
        self.name = PEER + kind.name
        self._folder = tools.folder
        self._command = [tools.node if kind.file.endswith(".mjs") else tools.python, kind.file]
        self._environ = {"DATABASE_URL": url}
        run([*self._command, "install"], self._folder, self._environ)
        self._connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        self._client = stack.enter_context(self._started("client"))
        self._client.hear("ready")

    def drained(self, count: int, processes: int) -> float:
        """No-op jobs per second, from the first job's handler to the last one's completion."""
        wanted = round(count * self.kind.share)
        self._fill(wanted)
        with ExitStack() as stack:
            workers = [
                stack.enter_context(self._started("work", "count")) for _ in range(processes)
            ]
            for worker in workers:
                worker.hear("ready")
            heard = [worker.hear("handled") for worker in workers]
            while sum(handled for handled, _ in heard) < wanted:
                heard = [worker.hear("handled") for worker in workers]
            while self._connection.execute(self.kind.left.encode()).fetchone():
                time.sleep(0.005)
            return wanted / (time.monotonic() - min(first for _, first in heard if first))

    def enqueued(self, count: int) -> float:
        """Jobs per second, all in one call."""
        self._empty()
        return count / self._took("bulk", count)

    def produced(self, count: int, producers: int) -> float:
        """Jobs per second by ``producers`` at a time, a call for each job."""
        self._empty()
        return count / self._took("produce", count, producers)

    def picked_up(self, samples: int) -> tuple[float, float]:
        """p50 and p99 in ms from the client's receipt of the commit to the handler's start in an idle worker."""
        self._empty()
        latencies = []
        with self._started("work", "time") as worker:
            worker.hear("ready")
            time.sleep(1)  # its first polls are over
            for _ in range(samples):
                time.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - jitter; the worker must be idle
                self._client.say("one")
                _, committed = self._client.hear("done")
                [began] = worker.hear("at")
                latencies.append(max(0.0, began - committed) * 1000)
        return percentiles(latencies)

    def _started(self, *words: str) -> AbstractContextManager[Programme]:
        return programme([*self._command, *words], self._folder, self._environ)

    def _empty(self) -> None:
        self._connection.execute(f"truncate {self.kind.tables} cascade".encode())
        self._connection.execute("checkpoint")

    def _fill(self, count: int) -> None:
        self._empty()
        self._took("bulk", count)
        self._connection.execute("vacuum analyze")
        self._connection.execute("checkpoint")

    def _took(self, *words: object) -> float:
        self._client.say(*words)
        began, ended = self._client.hear("done")
        return ended - began


@contextmanager
def queues(bench: Bench) -> Iterator[Sequence[Peer]]:
    """All peers, installed and ready; none without PEERS."""
    with ExitStack() as stack:
        if not bench.options.peers:
            yield ()
            return
        tools = installed()
        yield [
            Peer(kind, tools, stack.enter_context(_database(bench.url, kind.name)), stack)
            for kind in KINDS
        ]


@contextmanager
def _database(url: str, name: str) -> Iterator[str]:
    quoted = f'"peer {name}"'
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {quoted} template template0".encode())
        try:
            yield url.removesuffix("/postgres") + f"/peer%20{name}"
        finally:
            connection.execute(f"drop database {quoted} with (force)".encode())


def drains(peers: Sequence[Peer], count: int) -> Iterator[Row]:
    """One round of page jobs."""
    for peer in peers:
        for processes, words in PROCESSES.items():
            yield Row(f"{peer.name}, {words}", [peer.drained(count, processes)])


def pick_ups(peers: Sequence[Peer], samples: int) -> Iterator[Row]:
    """One round of page wakeup."""
    for peer in peers:
        yield Row(f"{peer.name}: enqueue to handler start", peer.picked_up(samples))
