"""Page processes: start-generation by one process and by two (EDGE_WORKERS=2), at the same connections.

On a machine whose cores PostgreSQL and the load generator need as well, the rate alone says little of a second process.
So what a start costs both of them is measured too, and how the connections spread: uvicorn's processes accept from one
socket, and the one that wakes first may take all that wait.
"""

import json
from collections.abc import Iterator, Sequence

import psycopg
from jose import jwt

from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.bench.children import Gateway, gateway
from scripts.bench.closed_loop import Call
from scripts.bench.figures import Column, Row
from scripts.bench.http import BODY, CLAIMS, EMPTY, FIRST_WARM_UP_S
from scripts.bench.load import Generator, generator
from scripts.bench.options import Bench

CONNECTIONS = 64
NAMES = {1: "one process", 2: "two processes"}
COLUMNS = (
    Column("per second", "more"),
    Column("p50 ms", "less", 2),
    Column("p99 ms", "less", 2),
    Column("µs of CPU a start", "less", 1),
    Column("% of it in the busier process", "less"),
)


def processes(bench: Bench) -> Iterator[Row]:
    """Each round starts the gateway anew: how the connections spread is decided when they are accepted."""
    token = jwt.encode(CLAIMS, LOCAL_JWT_SECRET, algorithm="HS256")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with psycopg.connect(bench.url, autocommit=True) as connection, generator() as driver:
        connection.execute("select public.pause_queue()")
        try:
            for _ in range(bench.options.rounds):
                for count, name in NAMES.items():
                    connection.execute(EMPTY)
                    connection.execute("checkpoint")
                    environ = {"SUPABASE_DB_URL": bench.url, "EDGE_WORKERS": str(count)}
                    with gateway(environ) as edge:
                        url = f"{edge.url}/functions/v1/start-generation"
                        start = Call("POST", url, headers, json.dumps(BODY))
                        yield Row(name, _measured(driver, edge, start, bench.options.seconds))
        finally:
            connection.execute("select public.resume_queue()")


def _measured(driver: Generator, edge: Gateway, start: Call, seconds: float) -> Sequence[float]:
    driver.load({"": start}, CONNECTIONS, 0.1, FIRST_WARM_UP_S)
    before = edge.cpu_s_by_process()
    [load] = driver.load({"": start}, CONNECTIONS, seconds, 0)
    used = [after - before.get(pid, 0) for pid, after in edge.cpu_s_by_process().items()]
    total = sum(used) or 0.01  # a tick of the kernel's clock: a shorter cell uses none
    starts = load.per_second * seconds
    return (
        load.per_second,
        load.p50_ms or 0,
        load.p99_ms or 0,
        1e6 * total / starts,
        100 * max(used) / total,
    )
