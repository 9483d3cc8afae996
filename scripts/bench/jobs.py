"""Page jobs: no-op jobs through one and two worker processes: claim, run, complete, with fencing tokens."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import psycopg

from functions._shared.jobs import Job
from functions._shared.resources import Resources
from scripts.bench.children import child_process, cpu_s, run_worker, until_terminated
from scripts.bench.claims import FUTURE, HISTORY

CONCURRENCY = 2000
BATCH = 500
LEFT = "select 1 from public.job_queue where status in ('pending', 'processing') and scheduled_at <= now() limit 1"
PROCESSES = {1: "one worker process", 2: "two worker processes"}


def job_rates(url: str, count: int, rows: int) -> Iterator[tuple[str, float]]:
    """Yield what was measured, and the jobs a second; after each worker the µs of its CPU that a job took."""
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, count)
        yield f"floor: the bare SQL in batches of {BATCH}, one connection", _bare(connection, count)
        for processes, name in PROCESSES.items():
            _fill(connection, count)
            rate, cpu_us = _through_workers(connection, url, processes, count)
            yield name, rate
            yield f"{name}: µs of Python's CPU a job", cpu_us
        connection.execute("truncate public.job_queue")
        connection.execute(HISTORY, (rows,))
        connection.execute(FUTURE, (rows // 10,))
        _add(connection, count)
        beside = f"… beside {rows:,} finished and {rows // 10:,} future"
        yield beside, _through_workers(connection, url, 1, count)[0]


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


def _through_workers(
    connection: psycopg.Connection[Any], url: str, processes: int, count: int
) -> tuple[float, float]:
    """Jobs a second, and µs of the processes' CPU a job. All processes wait for the end of a pause: the start."""
    settings = {"SUPABASE_DB_URL": url, "WORKER_CONCURRENCY": str(CONCURRENCY)}
    connection.execute("select public.pause_queue()")
    with ExitStack() as stack:
        for _ in range(processes):
            stack.enter_context(child_process(_work, settings)).recv()
        pids = [child.pid for child in multiprocessing.active_children() if child.pid]
        used_s = sum(map(cpu_s, pids))
        began = time.monotonic()
        connection.execute("select public.resume_queue()")
        while connection.execute(LEFT).fetchone():
            time.sleep(0.02)
        took_s = time.monotonic() - began
        used_s = sum(map(cpu_s, pids)) - used_s
    return count / took_s, used_s / count * 1e6


def _work(pipe: Connection, settings: dict[str, str]) -> None:
    async def handler(job: Job, resources: Resources) -> dict[str, Any]:
        return {}

    run_worker(settings, handler, until_terminated(pipe))
