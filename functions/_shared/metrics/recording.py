"""What other rooms call to count: one function for each thing that happens."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from functions._shared.metrics import instruments as metrics
from functions._shared.metrics.labels import ERROR_CLASSES, JOB_TYPES, METHODS, MODELS
from functions._shared.metrics.pending import Pending, observe_all

Request = tuple[str, str, int, float]
"""function, method, status, seconds"""
Attempt = tuple[str, str, str | None, float | None, float]
"""job_type, outcome, error_class, wait_s of a first attempt, seconds"""

now = time.time
"""The clock of ``attempt_ended``."""


def request_answered(function: str, method: str, status: int, seconds: float) -> None:
    """``function`` is one of a few names of ours, never a path."""
    _REQUESTS.add((function, method, status, seconds))


def attempt_ended(
    job_id: UUID,
    job_type: str,
    attempt_number: int,
    began: float,
    outcome: str,
    error_class: str | None = None,
) -> None:
    """An attempt that ends now; ``began``: when its handler did, by ``now``.

    A job's id tells when it was enqueued (UUID version 7: milliseconds since 1970 in the first 48 bits).
    """
    wait_s = None
    if attempt_number == 1 and (job_id.int >> 76) & 0xF == 7:
        wait_s = max(0.0, began - (job_id.int >> 80) / 1000)
    _ATTEMPTS.add((job_type, outcome, error_class, wait_s, max(0.0, now() - began)))


def attempt_settled(job_type: str, outcome: str, error_class: str | None = None) -> None:
    """An attempt that was parked has ended: its prediction has, and no handler runs."""
    metrics.JOB_ATTEMPTS.labels(
        JOB_TYPES(job_type), outcome, ERROR_CLASSES(error_class or "")
    ).inc()


def lease_refused(operation: str) -> None:
    metrics.LEASES_REFUSED.labels(operation).inc()


def prediction_ended(model: str, outcome: str, usd: float | None) -> None:
    """``usd``: None where no price is known."""
    metrics.PREDICTIONS.labels(MODELS(model), outcome).inc()
    metrics.COST.labels(MODELS(model)).inc(max(0.0, usd or 0.0))


def generation_ended(model: str, outcome: str, seconds: float) -> None:
    metrics.GENERATION.labels(MODELS(model), outcome).observe(max(0.0, seconds))


def provider_answered(operation: str, status: int | str) -> None:
    metrics.PROVIDER_REQUESTS.labels(operation, str(status)).inc()


class Throttled:
    """Until when the provider has asked to wait: overlapping waits are counted once."""

    def __init__(self) -> None:
        self._until = 0.0

    def wait(self, seconds: float) -> None:
        now = time.monotonic()
        begin, self._until = max(now, self._until), max(now + seconds, self._until)
        metrics.PROVIDER_THROTTLED.inc(self._until - begin)


THROTTLED = Throttled()


def webhook_sent(outcome: str) -> None:
    metrics.WEBHOOKS.labels(outcome).inc()


def pool_seen(pool: str, stats: Mapping[str, int]) -> None:
    """``stats``: psycopg_pool's get_stats()."""
    metrics.POOL_SIZE.labels(pool).set(stats.get("pool_size", 0))
    metrics.POOL_AVAILABLE.labels(pool).set(stats.get("pool_available", 0))
    metrics.POOL_WAITING.labels(pool).set(stats.get("requests_waiting", 0))


def flush() -> None:
    """Add what waits to the metrics."""
    _REQUESTS.flush()
    _ATTEMPTS.flush()


def _write_requests(rows: Sequence[Request]) -> None:
    seconds: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for function, method, status, taken in rows:
        seconds[function, method, status].append(taken)
    for (function, method, status), amounts in seconds.items():
        observe_all(metrics.HTTP_REQUESTS, (function, METHODS(method), str(status)), amounts)


def _write_attempts(rows: Sequence[Attempt]) -> None:
    waits: dict[str, list[float]] = defaultdict(list)
    works: dict[tuple[str, str], list[float]] = defaultdict(list)
    ends: Counter[tuple[str, str, str | None]] = Counter()
    for job_type, outcome, error_class, wait_s, seconds in rows:
        works[job_type, outcome].append(seconds)
        ends[job_type, outcome, error_class] += 1
        if wait_s is not None:
            waits[job_type].append(wait_s)
    for job_type, amounts in waits.items():
        observe_all(metrics.JOB_WAIT, (JOB_TYPES(job_type),), amounts)
    for (job_type, outcome), amounts in works.items():
        observe_all(metrics.JOB_DURATION, (JOB_TYPES(job_type), outcome), amounts)
    for (job_type, outcome, error_class), count in ends.items():
        metrics.JOB_ATTEMPTS.labels(
            JOB_TYPES(job_type), outcome, ERROR_CLASSES(error_class or "")
        ).inc(count)


_REQUESTS: Pending[Request] = Pending(_write_requests)
_ATTEMPTS: Pending[Attempt] = Pending(_write_attempts)
