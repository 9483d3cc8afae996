"""Fault injection into the gateways and their dependencies, one fault at a time, in the seed's order."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from functions._local.sandbox.app import Sandbox
from functions._shared.jobs import LEASE_S
from scripts.bucket import Bucket
from scripts.chaos.gateways import Gateway
from scripts.chaos.proxy import Proxy
from scripts.postgres import Postgres

FREEZE_S = (1.1 * LEASE_S, 1.4 * LEASE_S)
"""Duration of a freeze: longer than a lease, so that others claim with newer fencing tokens."""
FIND_BUSY_S = 5.0
"""How long to look for a gateway that holds jobs before killing an idle one."""
RESTART_DELAY_S = (0.5, 2.0)
"""Time until a killed gateway is started again, as by a supervisor."""


@dataclass
class System:
    """The system under test: every process and service that faults are injected into."""

    gateways: list[Gateway]
    postgres: Postgres
    proxy: Proxy
    sandbox: Sandbox
    bucket: Bucket
    random: random.Random
    takeover_s: list[float] = field(default_factory=list)
    """Recovery times: for each job held at a kill, seconds until another worker took over or ended it."""
    exit_codes: list[int] = field(default_factory=list)


def kill(system: System) -> str:
    """SIGKILL the gateway that holds most jobs, restart it, wait until its jobs are taken over."""
    deadline = time.monotonic() + FIND_BUSY_S
    order = system.random.sample(system.gateways, len(system.gateways))
    while True:
        held, gateway = max(
            ((_held_jobs(system, gateway.pid), gateway) for gateway in order),
            key=lambda pair: len(pair[0]),
        )
        if held or time.monotonic() > deadline:
            break
    gateway.kill()
    killed = time.monotonic()
    pause_s = system.random.uniform(*RESTART_DELAY_S)
    watch = threading.Thread(target=_record_takeovers, args=(system, held, killed), daemon=True)
    watch.start()
    time.sleep(pause_s)
    gateway.start()
    watch.join()
    return f"{gateway.name}, which held {len(held)} jobs"


def freeze(system: System) -> str:
    """SIGSTOP for longer than a lease, then SIGCONT: a zombie worker with stale fencing tokens."""
    gateway = system.random.choice(system.gateways)
    seconds = system.random.uniform(*FREEZE_S)
    gateway.signal(signal.SIGSTOP)
    time.sleep(seconds)
    gateway.signal(signal.SIGCONT)
    return f"{gateway.name} for {seconds:.0f} s"


def deploy(system: System) -> str:
    """SIGTERM (graceful shutdown), then a new process at once."""
    gateway = system.random.choice(system.gateways)
    code = gateway.restart()
    system.exit_codes.append(code)
    return f"{gateway.name}, exit code {code}"


def restart_postgres(system: System) -> str:
    """Immediate shutdown without a checkpoint: crash recovery at the next start."""
    system.postgres.stop("immediate")
    time.sleep(system.random.uniform(0.2, 2))
    system.postgres.start()
    return ""


def end_backends(system: System) -> str:
    """Terminate every database connection of the gateways."""
    with psycopg.connect(system.postgres.url, autocommit=True) as connection:
        ended = connection.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name like 'picture-edge%'"
        ).fetchone()
    return f"{ended[0] if ended else 0} of them"


def silence_network(system: System) -> str:
    """Network partition: connections to PostgreSQL stay open, packets are dropped (half-open connections)."""
    seconds = system.random.uniform(3, 9)
    with _switched_on(system.proxy.silent):
        time.sleep(seconds)
    return f"{seconds:.0f} s"


def lose_answers(system: System) -> str:
    """Cut connections between COMMIT and its answer: the client cannot know the outcome."""
    before = system.proxy.lost
    with _switched_on(system.proxy.lose_answers):
        time.sleep(system.random.uniform(0.3, 1.5))
    return f"{system.proxy.lost - before} answers"


def throttle(system: System) -> str:
    """Let the provider rate-limit creates (429)."""
    system.sandbox.limit(60, burst=3)
    time.sleep(system.random.uniform(2, 5))
    system.sandbox.limit(None)
    return "60 a minute, burst 3"


def break_storage(system: System) -> str:
    """Let Storage fail uploads, some of them after storing the file."""
    seconds = system.random.uniform(2, 6)
    system.bucket.failing = True
    time.sleep(seconds)
    system.bucket.failing = False
    return f"{seconds:.0f} s"


FAULTS: Mapping[str, Callable[[System], str]] = {
    "SIGKILL": kill,
    "SIGSTOP, SIGCONT": freeze,
    "SIGTERM": deploy,
    "PostgreSQL immediate restart": restart_postgres,
    "all backends terminated": end_backends,
    "proxy silent": silence_network,
    "answers lost after COMMIT": lose_answers,
    "provider throttles": throttle,
    "storage fails": break_storage,
}


def inject_faults(system: System, until: float) -> None:
    """Inject one fault after another until ``until`` (monotonic); shuffled, each kind once a round."""
    began = time.monotonic()
    deck: list[str] = []
    while time.monotonic() < until:
        if not deck:
            deck = list(FAULTS)
            system.random.shuffle(deck)
        name = deck.pop()
        at = time.monotonic() - began
        detail = FAULTS[name](system)
        print(f"{at:7.1f} s  {name:30} {detail}", flush=True)
        time.sleep(system.random.uniform(0.2, 1.5))


@contextmanager
def _switched_on(change: Callable[[bool], None]) -> Iterator[None]:
    change(True)
    try:
        yield
    finally:
        change(False)


HELD_JOBS = """
select id, lease_token from public.job_queue
where status = 'processing' and worker_id like '%%-' || %s || '-%%'
    and not exists (select from public.predictions where job_id = job_queue.id and status = 'running')
"""
STILL_HELD = """
select count(*) from unnest(%s::uuid[], %s::bigint[]) as held (id, token)
inner join public.job_queue on job_queue.id = held.id and job_queue.lease_token = held.token
where job_queue.status in ('processing', 'pending')
"""


def _held_jobs(system: System, pid: int) -> list[tuple[object, int]]:
    """Id and fencing token of the jobs that the process's worker is running (parked jobs left out)."""
    with psycopg.connect(system.postgres.url) as connection:
        return connection.execute(HELD_JOBS, (str(pid),)).fetchall()


def _record_takeovers(system: System, held: list[tuple[object, int]], killed: float) -> None:
    """Poll until none of the held jobs has its old token; record each job's recovery time."""
    left = len(held)
    ids, tokens = [job for job, _ in held], [token for _, token in held]
    with psycopg.connect(system.postgres.url, autocommit=True) as connection:
        while left:
            row = connection.execute(STILL_HELD, (ids, tokens)).fetchone()
            gone = left - (row[0] if row else 0)
            system.takeover_s += [time.monotonic() - killed] * gone
            left -= gone
            time.sleep(0.02)
