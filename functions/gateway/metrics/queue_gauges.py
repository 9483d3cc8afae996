"""The metrics that are asked of the database, at most every KEEP_S by this process and by all of them together.

All gateways answer with the same values: over several, queries take their max, not their sum.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from functions._shared.database.pool import Pool
from functions._shared.metrics.instruments import PREFIX
from functions._shared.metrics.labels import JOB_TYPES

log = logging.getLogger(__name__)

KEEP_S = 5.0
ANSWER_S = 3.0
"""How long a scrape waits for the database; then it has the other metrics only."""


class QueueGauges:
    """One to a process; asked in the event loop, before its ``collector`` is read."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._one_at_a_time = asyncio.Lock()
        self._asked_at = float("-inf")
        self._gauges: dict[str, Any] | None = None

    async def collector(self) -> Collector:
        """The newest answer; without one after an error, as an old one would look like a queue that stands still."""
        async with self._one_at_a_time:
            if time.monotonic() - self._asked_at >= KEEP_S:
                self._gauges = await self._ask()
                self._asked_at = time.monotonic()
            return _Answered(self._gauges)

    async def _ask(self) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(ANSWER_S), self._pool.connection(ANSWER_S) as connection:
                cursor = await connection.execute("select picture_edge.queue_gauges() as gauges")
                gauges: dict[str, Any] | None = (await cursor.fetchall())[0]["gauges"]
                return gauges
        except (psycopg.Error, TimeoutError) as error:
            log.debug("no metrics of the database: %s", type(error).__name__)
            return None


class _Answered(Collector):
    def __init__(self, gauges: dict[str, Any] | None) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        answered = self._gauges is not None
        yield GaugeMetricFamily(
            f"{PREFIX}_database_up", "1 where the database has answered this scrape.", int(answered)
        )
        if self._gauges is not None:
            yield from _families(self._gauges, time.time())


def _families(gauges: dict[str, Any], now: float) -> Iterator[Metric]:
    jobs: dict[tuple[str, str], int] = {}
    for job_type, status, count in gauges["jobs"]:
        key = JOB_TYPES(job_type), status
        jobs[key] = jobs.get(key, 0) + count
    yield _labelled(
        "jobs",
        "Jobs by state: pending, processing, parked, failed (the newest 10,000).",
        ("job_type", "status"),
        jobs,
    )
    oldest: dict[tuple[str, ...], float] = {}
    for job_type, due_at in gauges["oldest_due_at"].items():
        name = (JOB_TYPES(job_type),)
        oldest[name] = max(oldest.get(name, 0.0), now - due_at)
    yield _labelled(
        "oldest_due_job_seconds",
        "Queue latency: how long the oldest due job has waited past its time.",
        ("job_type",),
        oldest,
    )
    yield _plain(
        "parked_predictions",
        "Predictions that the provider works on.",
        gauges["parked_predictions"],
    )
    yield _plain("workers", "Processes that have run jobs within 30 s.", gauges["workers"])
    if gauges["ticked_at"] is not None:  # absent without a schedule: nothing is expected then
        yield _plain(
            "clock_last_tick_seconds",
            "Since cron last called process-jobs, or was scheduled to.",
            max(0.0, now - gauges["ticked_at"]),
        )
    yield _labelled(
        "provider_limited_seconds",
        "How long a rate limit of the provider (429) still holds.",
        ("provider",),
        {(provider,): max(0.0, until - now) for provider, until in gauges["limited_until"].items()},
    )
    yield CounterMetricFamily(
        f"{PREFIX}_leases_expired",
        "Leases that have expired, as their worker was silent; their jobs went back into the queue.",
        gauges["leases_expired"],
    )
    yield _plain(
        "queue_read_age_seconds", "Age of the metrics about the queue.", now - gauges["read_at"]
    )


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value)


def _labelled(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
