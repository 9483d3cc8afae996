"""The metrics by name. All are counted in this process; those asked of the database are in gateway/queue_gauges.py."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from functions._shared.metrics.processes import take_slot

PREFIX = "picture_edge"
REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
WORK_S = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600)
GENERATION_S = (0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300, 600, 1800)

take_slot()
disable_created_metrics()  # a second series to each counter, which no query here reads
REGISTRY = CollectorRegistry()


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, namespace=PREFIX, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, text, labels, namespace=PREFIX, registry=REGISTRY, buckets=buckets)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    # Summed over the processes; a restarted one takes over the slot, and so the value.
    return Gauge(name, text, labels, namespace=PREFIX, registry=REGISTRY, multiprocess_mode="sum")


HTTP_REQUESTS = _histogram(
    "http_request_duration_seconds",
    "From a request's headers to those of its response.",
    *("function", "method", "status"),
    buckets=REQUEST_S,
)
JOB_WAIT = _histogram(
    "job_wait_seconds",
    "From a job's enqueuing to the beginning of its first attempt, a delay asked for included.",
    "job_type",
    buckets=WORK_S,
)
JOB_DURATION = _histogram(
    "job_duration_seconds",
    "An attempt's time in its handler; waiting for the provider is not in it.",
    *("job_type", "outcome"),
    buckets=WORK_S,
)
JOB_ATTEMPTS = _counter(
    "job_attempts",
    "Ended attempts: completed, parked (its prediction runs), retried, failed (for good), interrupted (another worker"
    " goes on).",
    *("job_type", "outcome", "error_class"),
)
LEASES_REFUSED = _counter(
    "leases_refused",
    "Writes of workers that were refused: the job had been cancelled, or was another worker's (fencing token).",
    "operation",
)
GENERATION = _histogram(
    "generation_seconds",
    "From a generation's start to its end: completed, failed or cancelled.",
    *("model", "outcome"),
    buckets=GENERATION_S,
)
PREDICTIONS = _counter(
    "predictions",
    "Ended predictions of the provider, as in the ledger of spend: succeeded, failed, canceled.",
    *("model", "outcome"),
)
COST = _counter(
    "cost_usd", "US dollars of the ended predictions, without what is refunded.", "model"
)
PROVIDER_REQUESTS = _counter(
    "provider_requests",
    "Requests to the provider, each try counted; status: HTTP's, or the error that came in place of a response.",
    *("operation", "status"),
)
PROVIDER_THROTTLED = _counter(
    "provider_throttled_seconds",
    "Seconds for which the provider has asked this process to wait (429), overlapping ones once.",
)
WEBHOOKS = _counter(
    "webhooks",
    "Calls of webhook_url: delivered, refused (not 2xx), unreachable.",
    "outcome",
)
POOL_SIZE = _gauge("db_pool_size", "Connections of the pool to the database.", "pool")
POOL_AVAILABLE = _gauge("db_pool_available", "Those that are idle.", "pool")
POOL_WAITING = _gauge("db_pool_waiting", "Callers that wait for a connection.", "pool")
