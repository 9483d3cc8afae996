"""Page hostile: denial-of-service attacks; the gateway's memory, and the latency that others see.

Each attack has a new gateway, so that the figures are independent. Sizes are proportional to ``scale``: at 1.0 these
attacks cost the first versions up to 3 GB of memory, or stopped them answering for good.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psycopg

from scripts.bench.attacks import ATTACKS
from scripts.bench.children import Gateway, gateway, percentiles, provider_and_storage

EMPTY = "truncate public.job_queue, public.predictions, public.image_generations cascade"
EVERY_S = 0.01
"""Pause between two requests of the latency probe."""
QUIET_S = 3.0
"""Observation after an attack's last request, while the worker runs the jobs that it queued."""


@dataclass(frozen=True)
class Row:
    """Memory before the attack and at its peak; latency percentiles of GET /health during the attack."""

    name: str
    rss_mb: float
    peak_mb: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


def hostile(url: str, scale: float) -> Iterator[Row]:
    """The baseline, then every attack; ``url`` is the database's."""
    for name, attack in ATTACKS.items():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(EMPTY)  # drop the jobs of the attack before
        # A prediction that never ends keeps an event stream open.
        with (
            provider_and_storage(3600) as provider,
            gateway({"SUPABASE_DB_URL": url, **provider}) as edge,
        ):
            before = edge.rss_mb()
            with _LatencyProbe(edge) as waits:
                attack(edge, scale)
                time.sleep(QUIET_S)
            p50, p99 = percentiles(waits)
            yield Row(name, before, edge.peak_mb(), p50, p99, max(waits))


class _LatencyProbe:
    """Requests GET /health until the block ends; yields the list of latencies in milliseconds."""

    def __init__(self, edge: Gateway) -> None:
        self._edge = edge
        self._waits: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self._waits

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._over.is_set():
                began = time.monotonic()
                with suppress(httpx.HTTPError):  # a failure counts with the time that it took
                    client.get(f"{self._edge.url}/health")
                self._waits.append((time.monotonic() - began) * 1000)
                self._over.wait(EVERY_S)
