"""The aims of docs/PERFORMANCE.md: which figure each is about, and what it is held against."""

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.bench.figures import PEER, Figure, ratio

DENO = f"{PEER}Deno, postgres.js"
GRAPHILE = f"{PEER}graphile-worker"
RATE, P50, P99, CORE, US = "per second", "p50 ms", "p99 ms", "% of a core", "µs"


@dataclass(frozen=True)
class Aim:
    """``figure`` and ``beside`` are keys; ``bound`` holds for the figure, or for its ratio to ``beside``."""

    what: str
    figure: str
    bound: float
    beside: str | None = None

    def value(self, figures: Mapping[str, Figure]) -> float | None:
        """What the bound is for. None: it was not measured."""
        figure = figures.get(self.figure)
        if figure is None or self.beside is None:
            return figure.median if figure else None
        other = figures.get(self.beside)
        return ratio(figure, other) if other else None

    def met(self, figures: Mapping[str, Figure]) -> bool | None:
        """None: it was not measured."""
        value = self.value(figures)
        if value is None:
            return None
        more = figures[self.figure].better == "more"
        return value >= self.bound if more else value <= self.bound


def _start(connections: str, unit: str = RATE, name: str = "start-generation") -> str:
    return f"http/{name}, {connections}/{unit}"


AIMS = (
    Aim("start-generation, 1 connection", _start("1 connection"), 2, _start("1 connection", RATE, DENO)),
    Aim("… beside pgbench, one per transaction", _start("1 connection"), 0.8,
        _start("1 connection", RATE, "floor: pgbench, the same SQL")),
    Aim("… p50 beside route + psycopg", _start("1 connection", P50), 1.2,
        _start("1 connection", P50, "floor: route and psycopg, one after the other")),
    Aim("start-generation, 64 connections", _start("64 connections"), 3, _start("64 connections", RATE, DENO)),
    Aim("… p99 beside Deno's p50", _start("64 connections", P99), 1, _start("64 connections", P50, DENO)),
    Aim("start-generation, 128 connections", _start("128 connections"), 3, _start("128 connections", RATE, DENO)),
    Aim("… 2 processes beside one", f"processes/two processes/{RATE}", 1.7, f"processes/one process/{RATE}"),
    Aim("GET start-generation/<id>, 32 connections", _start("32 connections", RATE, "GET start-generation/<id>"), 5000),
    Aim("authentication, a new HS256 token", f"gateway/a new token/{US}", 60),
    Aim("authentication, a known token", f"gateway/a known token/{US}", 5),
    Aim("no-op jobs, 1 process", f"jobs/one worker process/{RATE}", 1.5, f"jobs/{GRAPHILE}, 1 process/{RATE}"),
    Aim("no-op jobs, 2 processes", f"jobs/two worker processes/{RATE}", 1.5, f"jobs/{GRAPHILE}, 2 processes/{RATE}"),
    Aim("… beside one process", f"jobs/two worker processes/{RATE}", 1, f"jobs/one worker process/{RATE}"),
    Aim("no-op jobs beside finished and future rows",
        f"jobs/… beside 1,000,000 finished and 100,000 future/{RATE}", 0.95, f"jobs/one worker process/{RATE}"),
    Aim("many jobs in one statement", f"enqueue/enqueue_jobs, all in one statement/{RATE}", 40_000),
    Aim("jobs by 8 producers", f"enqueue/enqueue_job by 8 producers/{RATE}", 4000),
    Aim("pick-up of an idle worker, p50", f"wakeup/enqueue_job in plain SQL to handler start/{P50}", 0.6),
    Aim("… p99", f"wakeup/enqueue_job in plain SQL to handler start/{P99}", 1.5),
    Aim("… p50 beside graphile-worker", f"wakeup/enqueue_job in plain SQL to handler start/{P50}", 1,
        f"wakeup/{GRAPHILE}: enqueue to handler start/{P50}"),
    Aim("one by one, 8 connections", "queue/claim, then complete, one by one/per second, 8 connections", 2500),
    Aim("a claim beside an old snapshot", f"claims/… and a snapshot held for 20,000 jobs/{P50}", 2),
    Aim("… its pages", "claims/… and a snapshot held for 20,000 jobs/pages", 300),
    Aim("pictures, 1 process", f"pictures/1 process/{RATE}", 250),
    Aim("pictures, 2 processes", f"pictures/2 processes/{RATE}", 400),
    Aim("from success to stored, p99", f"pictures/from a known success to the stored picture/{P99}", 30),
    Aim("20,000 parked predictions, memory", "parked/20,000 parked jobs/RSS MB", 200),
    Aim("… CPU", f"parked/20,000 parked jobs/{CORE}", 5),
    Aim("start of the gateway", "gateway/the gateway, ready/s", 0.6),
    Aim("memory of the gateway", "gateway/the gateway, ready/MB", 90),
    Aim("CPU of an idle gateway", f"parked/floor: idle/{CORE}", 0.5),
)  # fmt: skip
