"""Page realtime: latency from a commit to the frame that a websocket receives, and a burst of updates."""

import asyncio
import json
import random
import resource
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import psycopg
import uvicorn
import uvloop
from jose import jwt
from websockets.asyncio.client import ClientConnection, connect

from functions._local.defaults import local_environment
from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions._shared.settings import Settings
from functions.gateway.app import create_app
from functions.gateway.server import UVICORN
from scripts.bench.children import child_process, percentiles
from scripts.postgres import free_port
from scripts.stack import bound

JOINING = 50
"""Clients that join at a time."""
TABLE = """
drop table if exists public.bench_notes;
create table public.bench_notes (id int primary key, owner uuid not null, n int not null default 0, text text);
alter table public.bench_notes enable row level security;
create policy own on public.bench_notes for select to authenticated
using (owner = (current_setting('request.jwt.claims')::jsonb ->> 'sub')::uuid);
grant select on public.bench_notes to authenticated;
alter publication supabase_realtime add table public.bench_notes;
"""

Row = tuple[str, float, float]
"""What was measured, and its p50 and p99 in ms."""


def commits_to_frames(url: str, counts: Sequence[int], samples: int) -> Iterator[Row]:
    """Each subscriber is a user with a websocket of its own, on a filter of its own."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    yield "floor: NOTIFY to a bare listener", *uvloop.run(_notified(url, samples))
    for count in counts:
        with child_process(_serve, {"SUPABASE_DB_URL": url, "LOG_LEVEL": "ERROR"}) as pipe:
            address = pipe.recv()
            figures = uvloop.run(_received(url, address, count, samples))
        yield f"{count:,} subscribers", *figures


def burst(url: str, updates: int) -> tuple[int, float]:
    """Of so many updates in one transaction: frames received, and the seconds from the commit to the last."""
    with child_process(_serve, {"SUPABASE_DB_URL": url, "LOG_LEVEL": "ERROR"}) as pipe:
        return uvloop.run(_burst(url, pipe.recv(), updates))


async def _notified(url: str, samples: int) -> tuple[float, float]:
    arrived: asyncio.Queue[float] = asyncio.Queue()
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as listening,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as writing,
    ):
        await listening.execute("listen bench")

        async def listen() -> None:
            async for _ in listening.notifies():
                arrived.put_nowait(time.monotonic())

        task = asyncio.create_task(listen())
        figures = await _measured(samples, lambda: writing.execute("notify bench"), arrived)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return figures


async def _received(url: str, address: str, count: int, samples: int) -> tuple[float, float]:
    arrived: asyncio.Queue[float] = asyncio.Queue()
    async with (
        AsyncExitStack() as stack,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as writing,
    ):
        owners = [str(uuid4()) for _ in range(count)]
        await _fill(writing, owners)
        for start in range(0, count, JOINING):
            numbers = range(start, min(count, start + JOINING))
            joining = (_joined(stack, address, owners[n], f"id=eq.{n}") for n in numbers)
            for websocket in await asyncio.gather(*joining):
                task = asyncio.create_task(_clock(websocket, arrived))
                stack.callback(task.cancel)
        update = "update public.bench_notes set n = n + 1 where id = %s"
        return await _measured(
            samples,
            lambda: writing.execute(update, (random.randrange(count),)),  # noqa: S311
            arrived,
        )


async def _measured(
    samples: int, trigger: Callable[[], Awaitable[Any]], arrived: "asyncio.Queue[float]"
) -> tuple[float, float]:
    latencies = []
    for _ in range(samples):
        await asyncio.sleep(random.uniform(0.01, 0.03))  # noqa: S311 - jitter; everybody is idle
        await trigger()
        began = time.monotonic()
        latencies.append(max(0.0, await arrived.get() - began) * 1000)
    return percentiles(latencies)


async def _burst(url: str, address: str, updates: int) -> tuple[int, float]:
    owner = str(uuid4())
    async with (
        AsyncExitStack() as stack,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as writing,
    ):
        await _fill(writing, [owner] * updates)
        websocket = await _joined(stack, address, owner, "n=eq.1")
        received = 0

        async def count() -> None:
            nonlocal received
            async for message in websocket:
                received += "bench_notes" in str(message)
                if received == updates:
                    return

        counting = asyncio.create_task(count())
        await writing.execute("update public.bench_notes set n = 1, text = repeat('x', 200)")
        began = time.monotonic()
        await asyncio.wait([counting], timeout=60)
        return received, time.monotonic() - began


async def _fill(connection: psycopg.AsyncConnection[Any], owners: Sequence[str]) -> None:
    await connection.execute("set client_min_messages = error")
    await connection.execute(TABLE.encode())
    await connection.execute(
        "insert into public.bench_notes (id, owner)"
        " select n - 1, o from unnest(%s::uuid[]) with ordinality as t (o, n)",
        ([*owners],),
    )


async def _joined(
    stack: AsyncExitStack, address: str, owner: str, filtered: str
) -> ClientConnection:
    """A websocket whose channel hears of changes."""
    websocket = await stack.enter_async_context(connect(address, ping_interval=None))
    claims = {"sub": owner, "role": "authenticated", "aud": "authenticated", "exp": 4102444800}
    binding = {"event": "UPDATE", "schema": "public", "table": "bench_notes", "filter": filtered}
    payload = {
        "config": {"postgres_changes": [binding], "presence": {"enabled": False}},
        "access_token": jwt.encode(claims, LOCAL_JWT_SECRET, algorithm="HS256"),
    }
    await websocket.send(json.dumps(["1", "1", "realtime:bench", "phx_join", payload]))
    for expected in ("phx_reply", "system"):
        *_, event, answer = json.loads(await websocket.recv())
        if event != expected or answer["status"] != "ok":
            raise RuntimeError(f"{event}: {answer}")
    return websocket


async def _clock(websocket: ClientConnection, arrived: "asyncio.Queue[float]") -> None:
    async for _ in websocket:
        arrived.put_nowait(time.monotonic())


def _serve(pipe: Connection, settings: dict[str, str]) -> None:
    values = {
        **local_environment(settings),
        "SERVE": "realtime",
        "REALTIME_MAX_JOINS_PER_SECOND": "100000",
    }
    with bound("127.0.0.1", free_port(), "bench") as listener:
        key = values["SUPABASE_ANON_KEY"]
        port = listener.getsockname()[1]
        pipe.send(f"ws://127.0.0.1:{port}/realtime/v1/websocket?apikey={key}&vsn=2.0.0")
        config = uvicorn.Config(create_app(Settings.from_env(values)), **UVICORN)
        uvicorn.Server(config).run(sockets=[listener])
