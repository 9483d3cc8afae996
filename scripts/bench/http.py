"""Page http: start-generation under load, beside the bare SQL and beside a route that does nothing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from scripts.bench.children import child_process, gateway
from scripts.bench.load import Call, Load, load
from scripts.bench.throughput import pgbench
from scripts.postgres import Postgres, free_port
from scripts.stack import bound

CONNECTIONS = (1, 32, 128)
BARE = "(b) a bare Starlette route"
BODY = {"prompt": "a red fox in the snow", "model_id": "black-forest-labs/flux-schnell"}
SQL = f"select * from picture_edge.start_generation(gen_random_uuid(), '{json.dumps(BODY)}');"  # noqa: S608


def loads(postgres: Postgres, seconds: int) -> Iterator[Load]:
    """Closed-loop loads of ``seconds`` each; the queue is paused, so that the worker stays idle."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("select public.pause_queue()")
        try:
            with (
                child_process(_serve_bare) as pipe,
                gateway({"SUPABASE_DB_URL": postgres.url}) as edge,
            ):
                headers = {
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {edge.anon_key}",
                }
                url = f"{edge.url}/functions/v1/start-generation"
                start = Call("POST", url, headers, json.dumps(BODY))
                bare_start = replace(start, url=pipe.recv())
                for connections in CONNECTIONS:
                    connection.execute(
                        "truncate public.job_queue, public.image_generations cascade"
                    )
                    connection.execute("checkpoint")
                    rate = pgbench(postgres, SQL, connections, seconds)
                    yield Load("(a) pgbench, the same SQL", connections, rate)
                    [bare] = load({BARE: bare_start}, connections, seconds)
                    yield bare
                    if connections == 1:  # without concurrency the times of (a) and (b) add up
                        combined = 1 / (1 / rate + 1 / bare.per_second)
                        yield Load("floor: (b), and (a) within it", connections, combined)
                        ready = Call("GET", f"{edge.url}/ready")
                        yield from load({"GET /ready": ready}, 1, seconds)
                    connection.execute(
                        "truncate public.job_queue, public.image_generations cascade"
                    )
                    connection.execute("checkpoint")
                    yield from load({"start-generation": start}, connections, seconds)
        finally:
            connection.execute("select public.resume_queue()")


def _serve_bare(pipe: Connection) -> None:
    async def answer(request: Request) -> JSONResponse:
        await request.json()
        return JSONResponse({"success": True})

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    with bound("127.0.0.1", free_port(), "bare") as listener:
        pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        config = uvicorn.Config(app, log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
