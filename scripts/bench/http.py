"""Page http: start-generation under load, beside the bare SQL, a route that does nothing, and the same work on Deno."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection

import psycopg
import uvicorn
import uvloop
from jose import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.bench.children import Gateway, child_process, gateway, percentiles
from scripts.bench.closed_loop import Call
from scripts.bench.figures import PEER, Row
from scripts.bench.load import Generator, Load, generator
from scripts.bench.options import Bench
from scripts.bench.peers.install import installed
from scripts.bench.peers.programme import programme
from scripts.bench.throughput import pgbench
from scripts.postgres import free_port
from scripts.stack import bound

READERS = 32
PGBENCH = {1: 1, 64: 10}
"""Connections of a load → those of pgbench beside it: as many as a pool has."""
USER = "00000000-0000-4000-8000-00000000000f"
CLAIMS = {"sub": USER, "role": "authenticated", "aud": "authenticated", "exp": 4102444800}
BODY = {"prompt": "a red fox in the snow", "model_id": "black-forest-labs/flux-schnell"}
SQL = f"select * from picture_edge.start_generation(gen_random_uuid(), '{json.dumps(BODY)}');"  # noqa: S608
PREPARED = (
    "select generation_id, job_id from picture_edge.start_generations(%s::uuid[], %s::jsonb[])"
)
EMPTY = "truncate public.job_queue, public.image_generations cascade"
ROUTE = "floor: a bare Starlette route"
OURS = "start-generation"
FIRST_WARM_UP_S, WARM_UP_S = 1.5, 0.2


def loads(bench: Bench) -> Iterator[Row]:
    """Closed-loop loads of a second each; the queue is paused, so that the worker stays idle.

    The token is the same in all requests, as with one client: it is verified once.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(bench.url, autocommit=True))
        connection.execute("select public.pause_queue()")
        stack.callback(connection.execute, "select public.resume_queue()")
        token = jwt.encode(CLAIMS, LOCAL_JWT_SECRET, algorithm="HS256")
        edge = stack.enter_context(gateway({"SUPABASE_DB_URL": bench.url}))
        start = Call(
            "POST",
            f"{edge.url}/functions/v1/start-generation",
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
            json.dumps(BODY),
        )
        calls = {ROUTE: replace(start, url=stack.enter_context(child_process(_serve_bare)).recv())}
        if bench.options.peers:
            calls[f"{PEER}Deno, postgres.js"] = replace(
                start, url=stack.enter_context(_deno(bench))
            )
        calls[OURS] = start
        driver = stack.enter_context(generator())
        for each in calls.values():  # also compiles what the peer compiles as it runs
            driver.load({"": each}, bench.options.connections[-1], 0.1, FIRST_WARM_UP_S)
        for _ in range(bench.options.rounds):
            for connections in bench.options.connections:
                connection.execute(EMPTY)
                connection.execute("checkpoint")
                yield from _round(bench, driver, calls, connections, edge)
            yield from _read(driver, calls, connection)


def _round(
    bench: Bench, driver: Generator, calls: dict[str, Call], connections: int, edge: Gateway
) -> Iterator[Row]:
    seconds = bench.options.seconds
    suffix = _suffix(connections)
    floor = ROUTE + suffix
    with _stopped(edge):
        others = {name: call for name, call in calls.items() if name != OURS}
        rows = driver.load(others, connections, seconds, WARM_UP_S)
        if connections in PGBENCH:
            rate = pgbench(bench.postgres, SQL, PGBENCH[connections], seconds)
            yield Row(f"floor: pgbench, the same SQL{suffix}", [rate])
        if connections == 1:  # without concurrency the times of a request's parts add up
            bare = next(row for row in rows if row.name == ROUTE)
            sql_rate, sql_p50, sql_p99 = uvloop.run(_bare_sql(bench.url, seconds))
            yield Row(f"floor: psycopg, the same SQL{suffix}", [sql_rate, sql_p50, sql_p99])
            floor = f"floor: route and psycopg, one after the other{suffix}"
            both = 1 / (1 / sql_rate + 1 / bare.per_second)
            yield Row(floor, [both, sql_p50 + (bare.p50_ms or 0)])
    rows += driver.load({OURS: calls[OURS]}, connections, seconds, WARM_UP_S)
    for row in rows:
        yield _row(row, None if row.name == ROUTE else floor)


@contextmanager
def _stopped(edge: Gateway) -> Iterator[None]:
    """SIGSTOP: floors and peers enqueue jobs as well, and the NOTIFY of these would keep our worker busy meanwhile."""
    os.kill(edge.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(edge.pid, signal.SIGCONT)


def _read(
    driver: Generator, calls: dict[str, Call], connection: psycopg.Connection[tuple[str]]
) -> Iterator[Row]:
    [generation_id] = connection.execute(
        "select id::text from public.image_generations where user_id = %s limit 1", (USER,)
    ).fetchone() or [""]
    start = calls[OURS]
    show = replace(start, method="GET", url=f"{start.url}/{generation_id}", body="")
    name = "GET start-generation/<id>"
    bare, shown = driver.load({ROUTE: calls[ROUTE], name: show}, READERS, 1, WARM_UP_S)
    yield _row(bare, None)
    yield _row(shown, bare.name + _suffix(READERS))


def _row(row: Load, floor: str | None) -> Row:
    figures = [row.per_second, row.p50_ms, row.p99_ms, row.generator]
    return Row(row.name + _suffix(row.connections), figures, floor)


def _suffix(connections: int) -> str:
    return f", {connections} connection{'s' if connections > 1 else ''}"


async def _bare_sql(url: str, seconds: float) -> tuple[float, float, float]:
    """Calls per second, p50 and p99 in ms of the same statement on a prepared, autocommitting connection."""
    latencies: list[float] = []
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, prepare_threshold=0
    ) as connection:
        began = time.monotonic()
        while (sent := time.monotonic()) < began + seconds:
            values = ([USER], [json.dumps(BODY)])
            await (await connection.execute(PREPARED, values, binary=True)).fetchall()
            latencies.append(time.monotonic() - sent)
        took = time.monotonic() - began
    p50, p99 = percentiles(latencies)
    return len(latencies) / took, p50 * 1000, p99 * 1000


@contextmanager
def _deno(bench: Bench) -> Iterator[str]:
    """The peer's address."""
    tools = installed()
    command = [
        tools.deno, "run", "--allow-net", "--allow-env", "--allow-read", "--node-modules-dir=manual", "--no-remote",
        "deno_start.mjs",
    ]  # fmt: skip
    environ = {
        "DATABASE_URL": bench.url,
        "JWT_SECRET": LOCAL_JWT_SECRET,
        "DENO_NO_UPDATE_CHECK": "1",
    }
    with programme(command, tools.folder, environ) as running:
        [port] = running.hear("port")
        yield f"http://127.0.0.1:{port:.0f}/"


def _serve_bare(pipe: Connection) -> None:
    async def answer(request: Request) -> JSONResponse:
        await request.json()
        return JSONResponse({"success": True})

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    with bound("127.0.0.1", free_port(), "bare") as listener:
        pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        config = uvicorn.Config(app, log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
