"""Page pictures: end-to-end throughput, memory and own latency, with a provider that takes no time.

All requests are for the same picture, which the provider draws once and caches: drawing is not measured.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg

from scripts.bench.by_hand import pictures_by_hand
from scripts.bench.children import gateway, percentiles, provider_and_storage

START = """
with many as (
    select
        array_agg(gen_random_uuid()) as users,
        array_agg(
            jsonb '{"prompt": "x", "model_id": "black-forest-labs/flux-schnell", "width": 64, "height": 64, "seed": 1}'
        ) as requests
    from generate_series(1, %s)
)
select count(*) from many, lateral picture_edge.start_generations(users, requests)
"""
OURS = """
select extract(epoch from generation.completed_at - prediction.ended_at)::float8 * 1000
from public.image_generations as generation
inner join public.job_queue as job
    on (job.payload ->> 'generation_id')::uuid = generation.id and job.job_type = 'generate-image'
inner join public.predictions as prediction on prediction.job_id = job.id
where generation.status = 'completed'
order by generation.created_at
offset %s
"""
WARM_UP = 5
"""Pictures of a new gateway that are not counted: the first takes 0.1 s (connections, plans, the model's schema)."""

Row = tuple[str, float, float]


def pictures(url: str, count: int) -> Iterator[Row]:
    """The floor, then one and two gateway processes: images a second, and resident memory in MB of the first."""
    with provider_and_storage(0) as settings, psycopg.connect(url, autocommit=True) as connection:
        _clear(connection)
        for many in (count // 10, count):  # warm-up first
            connection.execute(START, (many,))
            began = time.monotonic()
            pictures_by_hand(url, settings, many)
            rate = many / (time.monotonic() - began)
        yield "floor: bare requests and statements", rate, 0
    for processes in (1, 2):
        with ExitStack() as stack:
            connection = stack.enter_context(psycopg.connect(url, autocommit=True))
            _clear(connection)
            settings = stack.enter_context(provider_and_storage(0))
            environ = {"SUPABASE_DB_URL": url, **settings}
            edges = [stack.enter_context(gateway(environ)) for _ in range(processes)]
            _rate(connection, count // 10)  # warm-up
            rate = _rate(connection, count)
            name = f"{processes} process{'es' if processes > 1 else ''}"
            yield name, rate, edges[0].rss_mb()


def chain(url: str, count: int) -> tuple[float, float]:
    """p50 and p99 in ms from the prediction's known success to the stored picture, one at a time."""
    with psycopg.connect(url, autocommit=True) as connection, ExitStack() as stack:
        _clear(connection)
        settings = stack.enter_context(provider_and_storage(0))
        stack.enter_context(gateway({"SUPABASE_DB_URL": url, **settings}))
        for _ in range(WARM_UP + count):
            connection.execute(START, (1,))
            _until_done(connection)
        return percentiles([row[0] for row in connection.execute(OURS, (WARM_UP,)).fetchall()])


def _rate(connection: psycopg.Connection[tuple[object, ...]], count: int) -> float:
    before = _stored(connection)
    began = time.monotonic()
    connection.execute(START, (count,))
    _until_done(connection)
    rate = count / (time.monotonic() - began)
    if _stored(connection) != before + count:
        raise RuntimeError("Not every picture was stored")
    return rate


def _stored(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    row = connection.execute("select count(*)::int from public.images").fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def _clear(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Before a gateway runs: truncate locks whole tables, in another order than its statements (deadlock)."""
    connection.execute(
        "truncate public.job_queue, public.predictions, public.image_generations cascade"
    )


def _until_done(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    going = (
        "select 1 from public.image_generations where status not in ('completed', 'failed') limit 1"
    )
    while connection.execute(going).fetchone():
        time.sleep(0.02)
