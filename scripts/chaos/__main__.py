"""``make chaos``: MINUTES of fault injection (default 3); SEED replays an earlier run's order.

Exit code 0 if every invariant held (no generation lost, stored twice, paid twice, failed for its worker's death; no
status going backwards) and every graceful shutdown exited with 0.
"""

import logging
import os
import random
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from functions._local.defaults import SANDBOX_TOKEN
from functions._local.sandbox.app import create_sandbox
from scripts.bucket import Bucket
from scripts.chaos.clients import Clients
from scripts.chaos.fault_injection import System, inject_faults
from scripts.chaos.gateways import gateways, wait_until
from scripts.chaos.history import History, Verdict, Watcher, generations, judge, paid_by
from scripts.chaos.proxy import proxied
from scripts.interrupts import interruptible
from scripts.postgres import cluster, free_port
from scripts.schema import apply_schema
from scripts.stack import bound, serving

GATEWAYS = 3
PER_SECOND = 4.0
PREDICTION_S = 1.5
JOB_TIMEOUT_S = 15
"""Short, so that hanging predictions time out within the run."""
SETTLE_S = 120
"""Time limit for the queue to drain after the last fault; the backoff of few attempts is short."""


def main() -> int:
    minutes = float(os.environ.get("MINUTES", "3"))
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    return 0 if run(minutes * 60, seed) else 1


def run(seconds: float, seed: int) -> bool:
    """Run and print the report; returns whether every invariant held and every shutdown was clean."""
    logging.getLogger(
        "uvicorn.error"
    ).disabled = True  # it logs the sandbox's truncated responses as errors
    print(f"seed {seed}: {GATEWAYS} gateways, {PER_SECOND:g} generations a second, {seconds:.0f} s")
    history = History()
    with running_system(seed) as system:
        watcher = Watcher(system.postgres.url, history)
        clients = Clients(system.gateways, history, seed, PER_SECOND)
        watcher.start()
        clients.start()
        inject_faults(system, time.monotonic() + seconds)
        clients.stop()
        settled = wait_until(lambda: settled_in(system.postgres.url), SETTLE_S)
        watcher.stop()
        rows = generations(system.postgres.url)
        verdict = judge(history, rows, paid_by(system.sandbox))
        show(verdict, system, seed)
        well = settled and not any(verdict.broken.values()) and not any(system.exit_codes)
        if not well:
            for gateway in system.gateways:
                print(f"--- {gateway.name}\n{gateway.log.read_text()[-4000:]}")
    return well


@contextmanager
def running_system(seed: int) -> Iterator[System]:
    """Start PostgreSQL, a proxy before it, a provider, a bucket and the gateways, all without faults."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True)
            )
        )
        postgres = cluster(folder, free_port())
        stack.callback(postgres.stop, "immediate")
        postgres.start()
        apply_schema(postgres.url)
        proxy = stack.enter_context(proxied(postgres.port))
        bucket = Bucket(seed)
        provider = create_sandbox(token=SANDBOX_TOKEN, seconds=PREDICTION_S)
        ports = {}
        for name, app in (("bucket", bucket.app), ("provider", provider)):
            listener = stack.enter_context(bound("127.0.0.1", free_port(), name))
            stack.enter_context(serving(app, listener))
            ports[name] = listener.getsockname()[1]
        environ = {
            "SUPABASE_URL": f"http://127.0.0.1:{ports['bucket']}",
            "SUPABASE_DB_URL": postgres.url.replace(f":{postgres.port}/", f":{proxy.port}/"),
            "REPLICATE_API_TOKEN": SANDBOX_TOKEN,
            "REPLICATE_API_URL": f"http://127.0.0.1:{ports['provider']}/v1",
            "JOB_TIMEOUT_MS": str(JOB_TIMEOUT_S * 1000),
        }
        processes = stack.enter_context(gateways(GATEWAYS, environ, folder))
        yield System(
            processes,
            postgres,
            proxy,
            provider.state.sandbox,
            bucket,
            random.Random(seed),  # noqa: S311 - reproducible
        )


def settled_in(url: str) -> bool:
    """Whether the queue is drained: no job pending or processing."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from public.job_queue where status in ('pending', 'processing')"
        ).fetchone()
    return row == (0,)


def show(verdict: Verdict, system: System, seed: int) -> None:
    print(f"\nseed {seed}")
    for name, count in verdict.counts.items():
        print(f"{name:36}{count:>8}")
    takeovers = system.takeover_s
    print(f"{'jobs of killed workers':36}{len(takeovers):>8}")
    if takeovers:
        print(f"{'begun again after, at most':36}{max(takeovers):>6.1f} s")
    print(f"{'answers lost after COMMIT':36}{system.proxy.lost:>8}")
    for text, count in sorted(verdict.failures.items(), key=lambda item: -item[1]):
        print(f"    failed {count:>4}  {text}")
    for name, cases in verdict.broken.items():
        for case in cases[:20]:
            print(f"    {name}: {case}")


if __name__ == "__main__":
    raise SystemExit(interruptible(main))
