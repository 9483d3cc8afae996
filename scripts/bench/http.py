"""Page http: start-generation under load, beside the bare SQL and beside a route that does nothing."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast
from urllib.parse import urlsplit

import psycopg
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from scripts.bench.children import child_process, gateway, percentiles
from scripts.bench.throughput import pgbench
from scripts.postgres import Postgres, free_port
from scripts.stack import bound

CONNECTIONS = (1, 32, 128)
BODY = {"prompt": "a red fox in the snow", "model_id": "black-forest-labs/flux-schnell"}
SQL = f"select * from picture_edge.start_generation(gen_random_uuid(), '{json.dumps(BODY)}');"  # noqa: S608


@dataclass(frozen=True)
class Load:
    """Throughput and latency of one closed-loop load."""

    name: str
    connections: int
    per_second: float
    p50_ms: float | None = None
    p99_ms: float | None = None


def loads(postgres: Postgres, seconds: int) -> Iterator[Load]:
    """Closed-loop loads of ``seconds`` each; the queue is paused, so that the worker stays idle."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("select public.pause_queue()")
        try:
            with (
                child_process(_serve_bare) as pipe,
                gateway({"SUPABASE_DB_URL": postgres.url}) as edge,
            ):
                bare_url = pipe.recv()
                for connections in CONNECTIONS:
                    connection.execute(
                        "truncate public.job_queue, public.image_generations cascade"
                    )
                    connection.execute("checkpoint")
                    rate = pgbench(postgres, SQL, connections, seconds)
                    yield Load("(a) pgbench, the same SQL", connections, rate)
                    bare = _load("(b) a bare Starlette route", bare_url, "", connections, seconds)
                    yield bare
                    if connections == 1:  # without concurrency the times of (a) and (b) add up
                        combined = 1 / (1 / rate + 1 / bare.per_second)
                        yield Load("floor: (b), and (a) within it", connections, combined)
                        yield _load("GET /ready", f"{edge.url}/ready", "", 1, seconds, "GET")
                    connection.execute(
                        "truncate public.job_queue, public.image_generations cascade"
                    )
                    connection.execute("checkpoint")
                    url = f"{edge.url}/functions/v1/start-generation"
                    yield _load("start-generation", url, edge.anon_key, connections, seconds)
        finally:
            connection.execute("select public.resume_queue()")


def _load(
    name: str, url: str, key: str, connections: int, seconds: int, method: str = "POST"
) -> Load:
    with child_process(_generate, url, key, connections, seconds, method) as pipe:
        latencies = pipe.recv()
    p50, p99 = percentiles(latencies)
    return Load(name, connections, len(latencies) / seconds, p50 * 1000, p99 * 1000)


def _generate(
    pipe: Connection, url: str, key: str, connections: int, seconds: int, method: str
) -> None:
    """The load generator: sends the list of latencies in seconds through ``pipe``.

    Written here, as wrk is no Python package, and the load generators among the Python packages need several times the
    CPU time of the server under test.
    """
    parts = urlsplit(url)
    body = json.dumps(BODY) if method == "POST" else ""
    request = (
        f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    latencies: list[float] = []

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)
            self.send()

        def send(self) -> None:
            self.began = time.monotonic()
            self.transport.write(request)

        def data_received(self, data: bytes) -> None:
            if data.startswith(b"HTTP/") and not data.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(data.decode(errors="replace"))
            if data.endswith(b"}"):  # head and body may arrive in separate segments
                latencies.append(time.monotonic() - self.began)
                self.send()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clients = [
            await loop.create_connection(Client, parts.hostname or "", parts.port or 80)
            for _ in range(connections)
        ]
        await asyncio.sleep(0.5)  # warm-up: connection pools are opened by the first requests
        latencies.clear()
        await asyncio.sleep(seconds)
        pipe.send(list(latencies))
        for transport, _ in clients:
            transport.close()

    uvloop.run(main())


def _serve_bare(pipe: Connection) -> None:
    async def answer(request: Request) -> JSONResponse:
        await request.json()
        return JSONResponse({"success": True})

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    with bound("127.0.0.1", free_port(), "bare") as listener:
        pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        config = uvicorn.Config(app, log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
