"""Page wakeup: latency from a commit to the start of the job's handler in an idle worker (NOTIFY)."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from typing import Any, LiteralString

import psycopg
import uvicorn
import uvloop

from functions._local.defaults import local_environment
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions._shared.settings import Settings
from functions.gateway.app import create_app
from functions.process_jobs import jobs
from scripts.bench.children import child_process, percentiles, run_worker, until_terminated
from scripts.bench.http import BODY
from scripts.postgres import free_port
from scripts.stack import bound

PATH = "/functions/v1/start-generation"

Row = tuple[str, float, float]
"""What was measured, and its p50 and p99 in ms."""


def wakeups(url: str, samples: int) -> Iterator[Row]:
    """Latency from the client's receipt of the commit; 0 where the handler starts before that.

    Through the gateway also from the sending of the request, which includes the commit.
    """
    with psycopg.connect(url, autocommit=True) as connection:

        def execute(statement: LiteralString) -> float:
            connection.execute(statement)
            return time.monotonic()

        with child_process(_listen, url) as pipe:
            pipe.recv()
            figures = _measure(pipe, samples, lambda: execute("notify bench"))
            yield "floor: NOTIFY to a bare listener", *figures
        connection.execute("create table if not exists one_row as select 0 as n")
        with child_process(_listen_and_write, url) as pipe:
            pipe.recv()
            figures = _measure(pipe, samples, lambda: execute("notify bench"))
            yield "floor: NOTIFY, then one row's UPDATE by the listener", *figures
        connection.execute("truncate public.job_queue")
        with child_process(_work, {"SUPABASE_DB_URL": url}) as pipe:
            pipe.recv()
            statement: LiteralString = "select public.enqueue_job('bench', '{}')"
            figures = _measure(pipe, samples, lambda: execute(statement))
            yield "enqueue_job in plain SQL to handler start", *figures
        with (
            child_process(_serve, {"SUPABASE_DB_URL": url, "LOG_LEVEL": "ERROR"}) as pipe,
            ExitStack() as connected,
        ):
            port, key = pipe.recv()
            client = connected.enter_context(closing(HTTPConnection("127.0.0.1", port)))
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

            def post() -> tuple[float, float]:
                sent = time.monotonic()
                client.request("POST", PATH, json.dumps(BODY), headers)
                answer = client.getresponse()
                answered = time.monotonic()
                if answer.status != 200:
                    raise RuntimeError(answer.read().decode())
                answer.read()
                return sent, answered

            post()  # warm-up
            pipe.recv()
            yield (
                "start-generation's answer to handler start",
                *_measure(pipe, samples, lambda: post()[1]),
            )
            yield (
                "request to start-generation to handler start",
                *_measure(pipe, samples, lambda: post()[0]),
            )


def _measure(pipe: Connection, samples: int, trigger: Callable[[], float]) -> tuple[float, float]:
    """p50 and p99 in ms from the moment that ``trigger`` returns to the one received from ``pipe``."""
    latencies = []
    for _ in range(samples):
        time.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - jitter; the worker must be idle
        began = trigger()
        latencies.append(max(0.0, pipe.recv() - began) * 1000)
    return percentiles(latencies)


def _listen(pipe: Connection, url: str) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("listen bench")
            pipe.send("ready")
            async for _ in connection.notifies():
                pipe.send(time.monotonic())

    uvloop.run(main())


def _listen_and_write(pipe: Connection, url: str) -> None:
    """What no claim can be faster than: hear of the job, and commit one row's change, over two connections."""

    async def main() -> None:
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as writing,
        ):
            await connection.execute("listen bench")
            pipe.send("ready")
            async for _ in connection.notifies():
                await writing.execute("update one_row set n = n + 1", prepare=True)
                pipe.send(time.monotonic())

    uvloop.run(main())


def _work(pipe: Connection, settings: dict[str, str]) -> None:
    async def handler(job: Job, resources: Resources) -> dict[str, Any]:
        pipe.send(time.monotonic())
        return {}

    run_worker(settings, handler, until_terminated(pipe))


def _serve(pipe: Connection, settings: dict[str, str]) -> None:
    async def handler(job: Job, resources: Resources) -> dict[str, Any]:
        pipe.send(time.monotonic())
        return {}

    jobs.JOBS = {"generate-image": handler}
    values = local_environment(settings)
    with bound("127.0.0.1", free_port(), "bench") as listener:
        pipe.send((listener.getsockname()[1], values["SUPABASE_ANON_KEY"]))
        config = uvicorn.Config(
            create_app(Settings.from_env(values)), log_config=None, access_log=False
        )
        uvicorn.Server(config).run(sockets=[listener])
