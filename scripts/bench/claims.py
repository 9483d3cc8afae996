"""Page claims: time and buffer pages of one claim, by the content of the table (bloat included)."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

SAMPLES = 300
HISTORY = """
insert into public.job_queue (job_type, status, completed_at, scheduled_at)
select 'bench', 'completed', now() - n * interval '1 s', now() - n * interval '1 s' from generate_series(1, %s) as n
"""
FUTURE = """
insert into public.job_queue (job_type, priority, scheduled_at)
select 'bench', n %% 3, now() + interval '1 day' + n * interval '1 s' from generate_series(1, %s) as n
"""
PENDING = "insert into public.job_queue (job_type) select 'bench' from generate_series(1, %s)"
RUN = """
with claimed as (select array_agg(id) as ids, array_agg(lease_token) as tokens from public.claim_jobs(100))
select count(*) from claimed cross join public.complete_jobs(ids, tokens)
"""


@dataclass(frozen=True)
class ClaimCost:
    """``table`` says what the table holds."""

    table: str
    p50_ms: float
    p99_ms: float
    pages: int
    """Shared buffers, from memory or disk."""


def claim_costs(url: str, rows: int) -> Iterator[ClaimCost]:
    """Claim one job: empty table, 1,000 pending, ``rows`` finished and a tenth as many scheduled ones.

    The last case is the worst of every queue in PostgreSQL: a long-running transaction holds a snapshot, so that VACUUM
    cannot remove the dead tuples since.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate public.job_queue")
        yield measure(connection, "nothing")
        connection.execute(PENDING, (1000,))
        yield measure(connection, "1,000 waiting")
        connection.execute("truncate public.job_queue")
        connection.execute(HISTORY, (rows,))
        connection.execute(FUTURE, (rows // 10,))
        yield measure(connection, f"{rows:,} finished, {rows // 10:,} future")
        connection.execute(PENDING, (1000,))
        yield measure(connection, "… and 1,000 waiting")
        held = rows // 50
        with psycopg.connect(url) as holder:
            holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            holder.execute("select from public.job_queue limit 1")
            for _ in range(held // 100):
                connection.execute(PENDING, (100,))
                connection.execute(RUN)
            yield measure(connection, f"… and a snapshot held for {held:,} jobs")


def measure(connection: psycopg.Connection[Any], table: str) -> ClaimCost:
    """Time ``SAMPLES`` claims after VACUUM ANALYZE."""
    connection.execute("vacuum analyze public.job_queue")
    times = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        connection.execute("select * from public.claim_jobs(1)").fetchall()
        times.append((time.perf_counter() - began) * 1000)
    ranks = statistics.quantiles(times, n=100)
    return ClaimCost(
        table, ranks[49], ranks[98], pages(connection, "select * from public.claim_jobs(1)")
    )


def pages(connection: psycopg.Connection[Any], query: str) -> int:
    """Shared buffers that ``query`` accesses, by EXPLAIN (ANALYZE, BUFFERS)."""
    row = connection.execute(f"explain (analyze, buffers, format json) {query}".encode()).fetchone()
    assert row
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
