"""Page parked: memory and CPU of a gateway with thousands of parked jobs, or of open event streams."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg

from scripts.bench.children import Gateway, gateway, provider_and_storage

START = """
with many as (
    select
        array_agg(gen_random_uuid()) as users,
        array_agg('{"prompt": "x", "model_id": "google/nano-banana"}'::jsonb) as requests
    from generate_series(1, %s)
)
select count(*) from many, lateral picture_edge.start_generations(users, requests)
"""
DEMO_USER = "00000000-0000-4000-8000-000000000000"

ROUND_S = 15
"""Polls of long predictions fall due together, once in so many seconds (claim_polls): whole rounds are observed."""
STARTED_S = 3
"""Until the work of a start is over: the schema cache is loaded, idle loops have reached their longest intervals."""

Row = tuple[str, float, float]
"""What the gateway does, its RSS in MB and its share of one core in percent."""


def parked(url: str, count: int, streams: int, seconds: float) -> Iterator[Row]:
    """Park ``count`` jobs whose predictions outlast the bench; observe each state for ``seconds``, in whole rounds."""
    seconds = round(seconds / ROUND_S) * ROUND_S or seconds
    with psycopg.connect(url, autocommit=True) as connection, ExitStack() as stack:
        connection.execute(  # before a gateway runs: truncate locks whole tables (deadlock)
            "truncate public.job_queue, public.predictions, public.image_generations cascade"
        )
        provider = stack.enter_context(provider_and_storage(3600))
        edge = stack.enter_context(gateway({"SUPABASE_DB_URL": url, **provider}))
        time.sleep(STARTED_S)
        yield "floor: idle", *_watch(edge, seconds)
        connection.execute(START, (count,))
        running = "select count(*) from public.predictions where status = 'running'"
        while connection.execute(running).fetchone() != (count,):
            time.sleep(0.5)
        while connection.execute(
            "select 1 from public.predictions where polls < 5 limit 1"
        ).fetchone():
            time.sleep(0.5)  # until the polling backoff has reached its longest interval
        yield f"{count:,} parked jobs", *_watch(edge, seconds)
        connection.execute("truncate public.job_queue, public.predictions")
        connection.execute("update public.image_generations set user_id = %s", (DEMO_USER,))
        ids = [
            str(row[0])
            for row in connection.execute(
                "select id from public.image_generations limit %s", (streams,)
            ).fetchall()
        ]
        yield f"{len(ids):,} open event streams", *asyncio.run(_streams(edge, ids, seconds))


def _watch(edge: Gateway, seconds: float) -> tuple[float, float]:
    before, began = edge.cpu_s(), time.monotonic()
    time.sleep(seconds)
    share = (edge.cpu_s() - before) / (time.monotonic() - began)
    return edge.rss_mb(), share * 100


async def _streams(edge: Gateway, ids: list[str], seconds: float) -> tuple[float, float]:
    port = urlsplit(edge.url).port
    opened = []
    for generation_id in ids:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /functions/v1/start-generation/{generation_id}/events HTTP/1.1\r\nHost: localhost\r\n"
            f"apikey: {edge.anon_key}\r\n\r\n".encode()
        )
        opened.append((reader, writer))
    for reader, _ in opened:
        await reader.readuntil(b"data: ")  # the first event: the stream is established
    figures = await asyncio.to_thread(_watch, edge, seconds)
    for _, writer in opened:
        writer.close()
    return figures
