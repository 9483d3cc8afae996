"""Page enqueue: jobs per second into the queue, many in one call and by producers one by one."""

import asyncio
import time
from collections.abc import Iterator, Sequence

import psycopg
import uvloop

from scripts.bench.figures import Row
from scripts.bench.options import Bench
from scripts.bench.peers.queues import Peer, queues

PRODUCERS = 8
TABLE = """
create table if not exists public.bench_bare (
    id uuid primary key default gen_random_uuid(), n bigint generated always as identity, payload jsonb, status text
)
"""
BARE = "insert into public.bench_bare (payload, status) select '{{}}', 'pending' from generate_series(1, {})"
MANY = "select count(public.enqueue_job('bench', '{{}}')) from generate_series(1, {})"
ONE = "select public.enqueue_job('bench', '{}')"


def enqueued(bench: Bench) -> Iterator[Row]:
    """No worker runs: the jobs stay."""
    many, few = 100 * bench.options.count, 20 * bench.options.count
    with (
        psycopg.connect(bench.url, autocommit=True) as connection,
        queues(bench) as peers,
    ):
        connection.execute(TABLE)
        for _ in range(bench.options.rounds):
            yield from _bulk(connection, peers, many)
            yield from _one_by_one(bench.url, connection, peers, few)


def _bulk(
    connection: psycopg.Connection[tuple[object, ...]], peers: Sequence[Peer], count: int
) -> Iterator[Row]:
    floor = "floor: bare INSERT, all in one statement"
    for name, table, statement in (
        (floor, "bench_bare", BARE),
        ("enqueue_job, all in one statement", "job_queue", MANY),
    ):
        _empty(connection, table)
        began = time.monotonic()
        connection.execute(statement.format(count).encode())
        yield Row(name, [count / (time.monotonic() - began)])
    for peer in peers:
        yield Row(f"{peer.name}, all in one call", [peer.enqueued(count)], floor)


def _one_by_one(
    url: str,
    connection: psycopg.Connection[tuple[object, ...]],
    peers: Sequence[Peer],
    count: int,
) -> Iterator[Row]:
    floor = f"floor: bare INSERT by {PRODUCERS} producers"
    for name, table, statement in (
        (floor, "bench_bare", BARE.format(1)),
        (f"enqueue_job by {PRODUCERS} producers", "job_queue", ONE),
    ):
        _empty(connection, table)
        yield Row(name, [uvloop.run(_produced(url, statement, count))])
    for peer in peers:
        yield Row(f"{peer.name} by {PRODUCERS} producers", [peer.produced(count, PRODUCERS)], floor)


async def _produced(url: str, statement: str, count: int) -> float:
    async with asyncio.TaskGroup() as opening:
        tasks = [
            opening.create_task(psycopg.AsyncConnection.connect(url, autocommit=True))
            for _ in range(PRODUCERS)
        ]

    async def produce(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        async with connection:
            for _ in range(count // PRODUCERS):
                await connection.execute(statement.encode())

    began = time.monotonic()
    await asyncio.gather(*(produce(task.result()) for task in tasks))
    return count / (time.monotonic() - began)


def _empty(connection: psycopg.Connection[tuple[object, ...]], table: str) -> None:
    connection.execute(f"truncate public.{table}".encode())
    connection.execute("checkpoint")
