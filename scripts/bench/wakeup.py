"""From an enqueue that is committed to the start of its handler in an idle worker; beside it a bare notification."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import psycopg
import uvloop

from functions._shared.jobs import Job
from functions._shared.resources import Resources
from scripts.bench.children import child, percentiles, run_worker

Row = tuple[str, float, float]
"""What was measured, and its p50 and p99 in ms."""


def wakeups(url: str, samples: int) -> Iterator[Row]:
    """From the moment at which the client has its commit's answer; the handler may start before that: 0 then."""
    with psycopg.connect(url, autocommit=True) as connection:
        with child(_listen, url) as pipe:
            pipe.recv()
            yield (
                "floor: NOTIFY to a bare listener",
                *_measure(pipe, samples, lambda: connection.execute("notify bench")),
            )
        connection.execute("truncate public.job_queue")
        with child(_work, {"SUPABASE_DB_URL": url}) as pipe:
            pipe.recv()
            statement = "select public.enqueue_job('bench', '{}')"
            yield (
                "enqueue_job in plain SQL to handler start",
                *_measure(pipe, samples, lambda: connection.execute(statement)),
            )


def _measure(pipe: Connection, samples: int, trigger: Callable[[], Any]) -> tuple[float, float]:
    taken = []
    for _ in range(samples):
        time.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - so that it is idle
        trigger()
        done = time.monotonic()
        taken.append(max(0.0, pipe.recv() - done) * 1000)
    return percentiles(taken)


def _listen(pipe: Connection, url: str) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("listen bench")
            pipe.send("ready")
            async for _ in connection.notifies():
                pipe.send(time.monotonic())

    uvloop.run(main())


def _work(pipe: Connection, settings: dict[str, str]) -> None:
    async def handler(job: Job, resources: Resources) -> dict[str, Any]:
        pipe.send(time.monotonic())
        return {}

    async def forever(_: Resources) -> None:
        await asyncio.sleep(1)  # its first looks are over
        pipe.send("ready")
        await asyncio.Event().wait()

    run_worker(settings, handler, forever)
