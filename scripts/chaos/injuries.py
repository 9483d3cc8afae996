"""What is done to the gateways and to what they stand on: one injury after the other, as the seed decides."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from functions._local.sandbox.app import Sandbox
from scripts.bucket import Bucket
from scripts.chaos.gateways import Gateway
from scripts.chaos.proxy import Proxy
from scripts.postgres import Postgres

FROZEN_S = (11.0, 14.0)
"""Longer than a lease of 10 s."""
BUSY_S = 5.0
BACK_S = (0.5, 2.0)
"""Until a dead gateway is started again."""


@dataclass
class World:
    """Everything that can be hurt."""

    gateways: list[Gateway]
    postgres: Postgres
    proxy: Proxy
    sandbox: Sandbox
    bucket: Bucket
    random: random.Random
    taken_over_s: list[float] = field(default_factory=list)
    """From each kill to the moment at which a job of the dead worker was begun again or had ended."""
    exit_codes: list[int] = field(default_factory=list)


def kill(world: World) -> str:
    """SIGKILL; whoever takes its jobs over is waited for."""
    until = time.monotonic() + BUSY_S
    order = world.random.sample(world.gateways, len(world.gateways))
    while True:  # one that is at work, if there is any
        held, gateway = max(
            ((_held(world, one.pid), one) for one in order), key=lambda pair: len(pair[0])
        )
        if held or time.monotonic() > until:
            break
    gateway.kill()
    killed = time.monotonic()
    pause_s = world.random.uniform(*BACK_S)
    watch = threading.Thread(target=_until_taken_over, args=(world, held, killed), daemon=True)
    watch.start()
    time.sleep(pause_s)
    gateway.start()
    watch.join()
    return f"{gateway.name}, which held {len(held)} jobs"


def freeze(world: World) -> str:
    """SIGSTOP longer than a lease: it wakes up with tokens that count for nothing."""
    gateway = world.random.choice(world.gateways)
    seconds = world.random.uniform(*FROZEN_S)
    gateway.signal(signal.SIGSTOP)
    time.sleep(seconds)
    gateway.signal(signal.SIGCONT)
    return f"{gateway.name} for {seconds:.0f} s"


def deploy(world: World) -> str:
    """SIGTERM, and a new process at once."""
    gateway = world.random.choice(world.gateways)
    code = gateway.restart()
    world.exit_codes.append(code)
    return f"{gateway.name}, exit code {code}"


def restart_postgres(world: World) -> str:
    """As after a crash: no shutdown, recovery at the next start."""
    world.postgres.stop("immediate")
    time.sleep(world.random.uniform(0.2, 2))
    world.postgres.start()
    return ""


def end_backends(world: World) -> str:
    with psycopg.connect(world.postgres.url, autocommit=True) as connection:
        ended = connection.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name like 'picture-edge%'"
        ).fetchone()
    return f"{ended[0] if ended else 0} of them"


def silence(world: World) -> str:
    seconds = world.random.uniform(3, 9)
    with _while(world.proxy.silent):
        time.sleep(seconds)
    return f"{seconds:.0f} s"


def lose_answers(world: World) -> str:
    before = world.proxy.lost
    with _while(world.proxy.lose_answers):
        time.sleep(world.random.uniform(0.3, 1.5))
    return f"{world.proxy.lost - before} answers"


def throttle(world: World) -> str:
    world.sandbox.limit(60, burst=3)
    time.sleep(world.random.uniform(2, 5))
    world.sandbox.limit(None)
    return "60 a minute, burst 3"


def break_storage(world: World) -> str:
    seconds = world.random.uniform(2, 6)
    world.bucket.failing = True
    time.sleep(seconds)
    world.bucket.failing = False
    return f"{seconds:.0f} s"


INJURIES: Mapping[str, Callable[[World], str]] = {
    "SIGKILL": kill,
    "SIGSTOP, SIGCONT": freeze,
    "SIGTERM": deploy,
    "PostgreSQL immediate restart": restart_postgres,
    "all backends terminated": end_backends,
    "proxy silent": silence,
    "answers lost after COMMIT": lose_answers,
    "provider throttles": throttle,
    "storage fails": break_storage,
}


def hurt(world: World, until: float) -> None:
    """One after the other until that moment; each kind once before any comes again."""
    began = time.monotonic()
    deck: list[str] = []
    while time.monotonic() < until:
        if not deck:
            deck = list(INJURIES)
            world.random.shuffle(deck)
        name = deck.pop()
        at = time.monotonic() - began
        detail = INJURIES[name](world)
        print(f"{at:7.1f} s  {name:30} {detail}", flush=True)
        time.sleep(world.random.uniform(0.2, 1.5))


@contextmanager
def _while(change: Callable[[bool], None]) -> Iterator[None]:
    change(True)
    try:
        yield
    finally:
        change(False)


HELD = """
select id, lease_token from public.job_queue
where status = 'processing' and worker_id like '%%-' || %s || '-%%'
    and not exists (select from public.predictions where job_id = job_queue.id and status = 'running')
"""
STILL = """
select count(*) from unnest(%s::uuid[], %s::bigint[]) as held (id, token)
inner join public.job_queue on job_queue.id = held.id and job_queue.lease_token = held.token
where job_queue.status in ('processing', 'pending')
"""


def _held(world: World, pid: int) -> list[tuple[object, int]]:
    """Jobs that this process's worker is at."""
    with psycopg.connect(world.postgres.url) as connection:
        return connection.execute(HELD, (str(pid),)).fetchall()


def _until_taken_over(world: World, held: list[tuple[object, int]], killed: float) -> None:
    left = len(held)
    ids, tokens = [job for job, _ in held], [token for _, token in held]
    with psycopg.connect(world.postgres.url, autocommit=True) as connection:
        while left:
            row = connection.execute(STILL, (ids, tokens)).fetchone()
            gone = left - (row[0] if row else 0)
            world.taken_over_s += [time.monotonic() - killed] * gone
            left -= gone
            time.sleep(0.02)
