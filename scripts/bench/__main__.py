"""``make bench``: every page, or those named in PAGES.

Pages: queue claims wakeup sharing jobs http platform storage parked pictures realtime hostile. SECONDS is the duration
of a timed cell (default 3), ROWS the number of finished jobs in the table (1,000,000), COUNT the number of samples in
percent (100).
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from scripts.bench.claims import claim_costs
from scripts.bench.hostile import hostile
from scripts.bench.http import loads
from scripts.bench.jobs import CONCURRENCY, job_rates
from scripts.bench.lite import lacking
from scripts.bench.load import Load
from scripts.bench.parked import parked
from scripts.bench.pictures import chain, pictures
from scripts.bench.platform import Figure, platform
from scripts.bench.realtime import burst, commits_to_frames
from scripts.bench.sharing import waits
from scripts.bench.storage import storage
from scripts.bench.throughput import throughput
from scripts.bench.wakeup import wakeups
from scripts.interrupts import interruptible
from scripts.postgres import Postgres, cluster, free_port
from scripts.schema import apply_schema

SECONDS = int(os.environ.get("SECONDS", "3"))
ROWS = int(os.environ.get("ROWS", "1000000"))
COUNT = int(os.environ.get("COUNT", "100"))


def main() -> int:
    began = time.monotonic()
    names = os.environ.get("PAGES", "").split() or list(PAGES)
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        postgres = cluster(Path(folder), free_port())
        postgres.start(["max_connections=200", "wal_level=logical"])
        try:
            apply_schema(postgres.url)
            print(
                f"{os.cpu_count()} cores, {postgres.version()}, defaults (every commit is on disk)"
            )
            for name in names:
                PAGES[name](postgres)
        finally:
            postgres.stop("immediate")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 0


def queue_page(postgres: Postgres) -> None:
    print("\nJobs per second; the floor is one bare statement for each, in the same run")
    print(f"{'':34}{'1 connection':>14}{'8 connections':>15}")
    for name, rates in throughput(postgres, SECONDS):
        print(f"{name:34}" + "".join(f"{rate:>14,.0f}" for rate in rates), flush=True)


def claims_page(postgres: Postgres) -> None:
    print("\nOne claim")
    print(f"{'the table holds':46}{'p50 ms':>8}{'p99 ms':>8}{'pages':>7}")
    for cost in claim_costs(postgres.url, ROWS):
        print(f"{cost.table:46}{cost.p50_ms:>8.2f}{cost.p99_ms:>8.2f}{cost.pages:>7}", flush=True)


def wakeup_page(postgres: Postgres) -> None:
    print("\nFrom the commit to an idle worker's handler")
    print(f"{'':46}{'p50 ms':>8}{'p99 ms':>8}")
    for name, p50, p99 in wakeups(postgres.url, 2 * COUNT):
        print(f"{name:46}{p50:>8.2f}{p99:>8.2f}", flush=True)


def sharing_page(postgres: Postgres) -> None:
    print("\nUsers take turns: from the commit to the start of a job's handler")
    print(f"{'':46}{'ms':>8}")
    for name, wait_ms in waits(postgres.url, 10 * COUNT):
        print(f"{name:46}{wait_ms:>8.1f}", flush=True)


def jobs_page(postgres: Postgres) -> None:
    print(f"\nNo-op jobs per second, each through its whole life; WORKER_CONCURRENCY={CONCURRENCY}")
    for name, rate in job_rates(postgres.url, 2000 * COUNT, ROWS):
        print(f"{name:56}{rate:>10,.0f}", flush=True)


def http_page(postgres: Postgres) -> None:
    print("\nstart-generation; (a) has no HTTP, no tokens and no checks")
    print(f"{'':32}{'connections':>12}{'per second':>12}{'p50 ms':>8}{'p99 ms':>8}")
    for load in loads(postgres, SECONDS):
        times = "" if load.p50_ms is None else f"{load.p50_ms:>8.2f}{load.p99_ms:>8.2f}"
        print(f"{load.name:32}{load.connections:>12}{load.per_second:>12,.0f}{times}", flush=True)


def platform_page(postgres: Postgres) -> None:
    print("\n/rest/v1 and /auth/v1; (a) is the floor; 'of (a)' is the share of its rate")
    if lacking():
        print(f"left out: (b) @supabase/lite {lacking()}")
    _print_shares(platform(postgres, COUNT, SECONDS))


def storage_page(postgres: Postgres) -> None:
    print("\n/storage/v1; (a) is the floor; 'of (a)' is the share of its rate")
    _print_shares(storage(postgres, 1000 * COUNT, SECONDS))


def _print_shares(rows: Iterator[Load | Figure]) -> None:
    print(f"{'':52}{'connections':>12}{'per second':>12}{'p50 ms':>8}{'p99 ms':>8}{'of (a)':>8}")
    floor = 0.0
    for row in rows:
        if isinstance(row, Figure):
            print(f"{row.name:52}{'':12}{row.value:>12.2f}", flush=True)
        else:
            floor = row.per_second if row.name.startswith("(a)") else floor
            print(
                f"{row.name:52}{row.connections:>12}{row.per_second:>12,.0f}"
                f"{row.p50_ms:>8.2f}{row.p99_ms:>8.2f}{row.per_second / floor:>8.0%}",
                flush=True,
            )


def parked_page(postgres: Postgres) -> None:
    print(f"\nOne gateway, over {5 * SECONDS} s")
    print(f"{'':32}{'RSS MB':>10}{'% of a core':>14}")
    for name, rss, share in parked(postgres.url, 50 * COUNT, 20 * COUNT, 5 * SECONDS):
        print(f"{name:32}{rss:>10.0f}{share:>14.1f}", flush=True)


def pictures_page(postgres: Postgres) -> None:
    print("\nPrompt to stored picture, with a provider that takes no time")
    print(f"{'':32}{'pictures/s':>12}{'RSS MB':>10}")
    for name, rate, rss in pictures(postgres.url, 10 * COUNT):
        print(f"{name:32}{rate:>12.0f}{rss:>10.0f}", flush=True)
    p50, p99 = chain(postgres.url, COUNT)
    print(f"from a known success to the stored picture: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def realtime_page(postgres: Postgres) -> None:
    print("\nFrom a commit to the frame at a subscriber, each a user with a filter of its own")
    print(f"{'':46}{'p50 ms':>8}{'p99 ms':>8}")
    counts = (2 * COUNT, 20 * COUNT)
    for name, p50, p99 in commits_to_frames(postgres.url, counts, 3 * COUNT):
        print(f"{name:46}{p50:>8.2f}{p99:>8.2f}", flush=True)
    updates = 100 * COUNT
    received, seconds = burst(postgres.url, updates)
    print(f"a burst of {updates:,} updates: {received:,} frames in {seconds:.2f} s")


def hostile_page(postgres: Postgres) -> None:
    print("\nOne gateway each: its memory, and what GET /health takes meanwhile")
    print(f"{'':38}{'RSS MB':>8}{'peak MB':>9}{'p50 ms':>8}{'p99 ms':>8}{'worst':>8}")
    for row in hostile(postgres.url, COUNT / 100):
        print(
            f"{row.name:38}{row.rss_mb:>8.0f}{row.peak_mb:>9.0f}"
            f"{row.p50_ms:>8.1f}{row.p99_ms:>8.1f}{row.worst_ms:>8.0f}",
            flush=True,
        )


PAGES: Mapping[str, Callable[[Postgres], None]] = {
    "queue": queue_page,
    "claims": claims_page,
    "wakeup": wakeup_page,
    "sharing": sharing_page,
    "jobs": jobs_page,
    "http": http_page,
    "platform": platform_page,
    "storage": storage_page,
    "parked": parked_page,
    "pictures": pictures_page,
    "realtime": realtime_page,
    "hostile": hostile_page,
}

if __name__ == "__main__":
    raise SystemExit(interruptible(main))
