"""``make bench``: the queue's page. SECONDS is the length of a timed cell (default 3), ROWS the size of the history."""

import os
import tempfile
import time
from pathlib import Path

from scripts.bench.claims import claim_costs
from scripts.bench.throughput import throughput
from scripts.postgres import Postgres, cluster, free_port
from scripts.schema import apply_schema


def main() -> int:
    began = time.monotonic()
    seconds = int(os.environ.get("SECONDS", "3"))
    rows = int(os.environ.get("ROWS", "1000000"))
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        postgres = cluster(Path(folder), free_port())
        postgres.start()
        try:
            page(postgres, seconds, rows)
        finally:
            postgres.stop("immediate")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 0


def page(postgres: Postgres, seconds: int, rows: int) -> None:
    apply_schema(postgres.url)
    print(f"{os.cpu_count()} cores, {postgres.version()}, defaults (every commit is on disk)\n")
    print("Jobs per second; the floor is one bare statement for each, in the same run")
    print(f"{'':34}{'1 connection':>14}{'8 connections':>15}")
    for name, rates in throughput(postgres, seconds):
        print(f"{name:34}" + "".join(f"{rate:>14,.0f}" for rate in rates))
    print("\nOne claim")
    print(f"{'the table holds':46}{'p50 ms':>8}{'p99 ms':>8}{'pages':>7}")
    for cost in claim_costs(postgres.url, rows):
        print(f"{cost.table:46}{cost.p50_ms:>8.2f}{cost.p99_ms:>8.2f}{cost.pages:>7}")


if __name__ == "__main__":
    raise SystemExit(main())
