"""Page sharing (fair queueing): how long a user's first job waits behind another user's many jobs."""

import asyncio
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import psycopg

from functions._shared.jobs import Job
from functions._shared.resources import Resources
from scripts.bench.children import child_process, run_worker, until_terminated

JOB_S = 0.01
CONCURRENCY = 4
ENQUEUE = """
select count(public.enqueue_job('bench', '{{"user": "{user}"}}', p_created_by => u.id))
from (select gen_random_uuid() as id) as u, generate_series(1, {count})
"""

Row = tuple[str, float]
"""The job that waits, and its wait in ms."""


def waits(url: str, count: int) -> Iterator[Row]:
    """One worker runs CONCURRENCY jobs of JOB_S concurrently; ``count`` jobs are the other user's."""
    settings = {"SUPABASE_DB_URL": url, "WORKER_CONCURRENCY": str(CONCURRENCY)}
    with (
        psycopg.connect(url, autocommit=True) as connection,
        child_process(_work, settings) as pipe,
    ):
        connection.execute("truncate public.job_queue")
        pipe.recv()
        connection.execute(ENQUEUE.format(user="second", count=1).encode())
        yield "a user's first job, nobody else there", _until(pipe, "second", 1)
        connection.execute(ENQUEUE.format(user="first", count=count).encode())
        began = time.monotonic()
        connection.execute(ENQUEUE.format(user="second", count=1).encode())
        wait_ms = _until(pipe, "second", 1)
        yield f"… while another user has {count:,} waiting", wait_ms
        _until(pipe, "first", count)
        yield "the other's last job, where it would stand by age", (time.monotonic() - began) * 1000


def _until(pipe: Connection, user: str, wanted: int) -> float:
    """ms from now until ``wanted`` jobs of ``user`` have begun since the worker's start."""
    began = time.monotonic()
    while True:
        owner, started, at = pipe.recv()
        if owner == user and started >= wanted:
            return float(max(0.0, at - began) * 1000)


def _work(pipe: Connection, settings: dict[str, str]) -> None:
    begun: dict[str, int] = {}

    async def handler(job: Job, resources: Resources) -> dict[str, Any]:
        user = job.payload["user"]
        begun[user] = begun.get(user, 0) + 1
        pipe.send((user, begun[user], time.monotonic()))
        await asyncio.sleep(JOB_S)
        return {}

    run_worker(settings, handler, until_terminated(pipe))
