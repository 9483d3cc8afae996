"""Page jobs: no-op jobs through one worker process: claim, run, complete, with fencing tokens."""

import asyncio
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import psycopg

from functions._shared.jobs import Job
from functions._shared.resources import Resources
from scripts.bench.children import child_process, run_worker
from scripts.bench.claims import FUTURE, HISTORY

CONCURRENCY = 2000
BATCH = 500
LEFT = "select 1 from public.job_queue where status in ('pending', 'processing') and scheduled_at <= now() limit 1"


def job_rates(url: str, count: int, rows: int) -> Iterator[tuple[str, float]]:
    """Yield what was measured, and the jobs a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, count)
        yield f"floor: the bare SQL in batches of {BATCH}, one connection", _bare(connection, count)
        _fill(connection, count)
        yield "one worker process", _through_worker(url, count)
        connection.execute("truncate public.job_queue")
        connection.execute(HISTORY, (rows,))
        connection.execute(FUTURE, (rows // 10,))
        _add(connection, count)
        name = f"… beside {rows:,} finished and {rows // 10:,} future"
        yield name, _through_worker(url, count)


def _fill(connection: psycopg.Connection[Any], count: int) -> None:
    connection.execute("truncate public.job_queue")
    _add(connection, count)


def _add(connection: psycopg.Connection[Any], count: int) -> None:
    connection.execute(
        "insert into public.job_queue (job_type) select 'bench' from generate_series(1, %s)",
        (count,),
    )
    connection.execute("vacuum analyze public.job_queue")
    connection.execute("checkpoint")


def _bare(connection: psycopg.Connection[Any], count: int) -> float:
    began = time.monotonic()
    while rows := connection.execute(
        "select id, lease_token from public.claim_jobs(%s)", (BATCH,)
    ).fetchall():
        ids, tokens = zip(*rows, strict=True)
        connection.execute("select public.complete_jobs(%s, %s)", (list(ids), list(tokens)))
    return count / (time.monotonic() - began)


def _through_worker(url: str, count: int) -> float:
    settings = {"SUPABASE_DB_URL": url, "WORKER_CONCURRENCY": str(CONCURRENCY)}
    with child_process(_work, settings) as pipe:
        return count / float(pipe.recv())


def _work(pipe: Connection, settings: dict[str, str]) -> None:
    first: list[float] = []

    async def handler(job: Job, resources: Resources) -> dict[str, Any]:
        if not first:
            first.append(time.monotonic())
        return {}

    async def until_done(resources: Resources) -> None:
        while True:
            await asyncio.sleep(0.05)
            async with resources.pool.connection() as connection:
                if not await (await connection.execute(LEFT)).fetchone():
                    break
        pipe.send(time.monotonic() - first[0])

    run_worker(settings, handler, until_done)
