"""The pages of make bench: a title, the columns of the table, the rows of all rounds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass

from scripts.bench.claims import claim_costs
from scripts.bench.enqueue import enqueued
from scripts.bench.figures import Column, Row
from scripts.bench.gateway_start import gateway_figures
from scripts.bench.hostile import hostile
from scripts.bench.http import loads
from scripts.bench.jobs import job_rates
from scripts.bench.load import Load
from scripts.bench.options import Bench
from scripts.bench.parked import parked
from scripts.bench.peers.queues import drains, pick_ups, queues
from scripts.bench.pictures import chain, pictures
from scripts.bench.platform import Figure, platform
from scripts.bench.processes import COLUMNS, processes
from scripts.bench.realtime import burst, commits_to_frames
from scripts.bench.sharing import waits
from scripts.bench.storage import storage
from scripts.bench.throughput import throughput
from scripts.bench.wakeup import wakeups

RATE = Column("per second", "more")
P50, P99 = Column("p50 ms", "less", 2), Column("p99 ms", "less", 2)
CPU = Column("µs of CPU", "less", 1)
GENERATOR = Column("generator % of core", "less")
MS = Column("ms", "less", 1)
RSS = Column("RSS MB", "less")
VALUE = Column("value", "less", 2)
PARKED = 20_000
"""As many as the promise of docs/PERFORMANCE.md is about; fewer in a short run."""
LOADED = (RATE, P50, P99, GENERATOR)


@dataclass(frozen=True)
class Page:
    """``rows``: of all rounds, in turns: a round is each thing once."""

    title: str
    columns: tuple[Column, ...]
    rows: Callable[[Bench], Iterable[Row]]


def rounds(bench: Bench, once: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """``once`` for each round."""
    for _ in range(bench.options.rounds):
        yield from once()


def _queue(bench: Bench) -> Iterator[Row]:
    seconds = bench.options.seconds
    return rounds(bench, lambda: (Row(*row) for row in throughput(bench.postgres, seconds)))


def _claims(bench: Bench) -> Iterator[Row]:
    for cost in claim_costs(bench.url, bench.options.rows):
        yield Row(cost.table, astuple(cost)[1:])


def _wakeup(bench: Bench) -> Iterator[Row]:
    samples = max(1, bench.options.count * 2 // 5)
    with queues(bench) as peers:

        def once() -> Iterator[Row]:
            yield from (Row(name, figures) for name, *figures in wakeups(bench.url, samples))
            yield from pick_ups(peers, samples)

        yield from rounds(bench, once)


def _sharing(bench: Bench) -> Iterator[Row]:
    count = 10 * bench.options.count
    return rounds(bench, lambda: (Row(name, [ms]) for name, ms in waits(bench.url, count)))


def _jobs(bench: Bench) -> Iterator[Row]:
    count = 500 * bench.options.count
    with queues(bench) as peers:

        def once() -> Iterator[Row]:
            for name, value in job_rates(bench.url, count, bench.options.rows):
                columns = [CPU] if "CPU" in name else None
                yield Row(name, [value], columns=columns)
            yield from drains(peers, count)

        yield from rounds(bench, once)


def _loads(rows: Iterable[Load | Figure]) -> Iterator[Row]:
    """Of the services' pages: (a) of the same number of connections is the floor."""
    floor = ""
    for row in rows:
        if isinstance(row, Figure):
            yield Row(row.name, [row.value], "", [VALUE])
            continue
        suffix = f", {row.connections} connection{'s' if row.connections > 1 else ''}"
        floor = row.name + suffix if row.name.startswith("(a)") else floor
        yield Row(row.name + suffix, [row.per_second, row.p50_ms, row.p99_ms, row.generator], floor)


def _platform(bench: Bench) -> Iterator[Row]:
    options = bench.options
    return _loads(platform(bench.postgres, options.count, options.rounds * options.seconds))


def _storage(bench: Bench) -> Iterator[Row]:
    options = bench.options
    objects = 1000 * options.count
    return _loads(storage(bench.postgres, objects, options.rounds * options.seconds))


def _parked(bench: Bench) -> Iterator[Row]:
    count, seconds = bench.options.count, bench.options.rounds * bench.options.seconds
    return (
        Row(name, figures)
        for name, *figures in parked(bench.url, min(PARKED, 400 * count), 20 * count, 3 * seconds)
    )


def _pictures(bench: Bench) -> Iterator[Row]:
    count = bench.options.count

    def once() -> Iterator[Row]:
        for name, rate, rss in pictures(bench.url, max(10, 2 * count)):
            yield Row(name, [rate, rss])
        name = "from a known success to the stored picture"
        yield Row(name, chain(bench.url, count // 5 or 1), columns=(P50, P99))

    return rounds(bench, once)


def _realtime(bench: Bench) -> Iterator[Row]:
    count = bench.options.count
    counts = (2 * count, 20 * count)
    yield from (
        Row(name, figures) for name, *figures in commits_to_frames(bench.url, counts, 3 * count)
    )
    updates = 100 * count
    frames, seconds = burst(bench.url, updates)
    yield Row(f"a burst of {updates:,} updates: frames", [frames / seconds], "", [RATE])


def _hostile(bench: Bench) -> Iterator[Row]:
    for row in hostile(bench.url, bench.options.count / 100):
        yield Row(row.name, astuple(row)[1:])


PAGES: Mapping[str, Page] = {
    "http": Page("start-generation under closed-loop load", LOADED, loads),
    "processes": Page("start-generation by several processes, 64 connections", COLUMNS, processes),
    "gateway": Page("The gateway's start, and a request's authentication", (), gateway_figures),
    "queue": Page(
        "Jobs through the SQL functions, by pgbench",
        (Column("per second, 1 connection", "more"), Column("per second, 8 connections", "more")),
        _queue,
    ),
    "enqueue": Page("Jobs into the queue", (RATE,), enqueued),
    "jobs": Page("No-op jobs, each through its whole life", (RATE,), _jobs),
    "wakeup": Page("From the commit to an idle worker's handler", (P50, P99), _wakeup),
    "claims": Page("One claim", (P50, P99, Column("pages", "less")), _claims),
    "pictures": Page(
        "Prompt to stored picture, with a provider that takes no time", (RATE, RSS), _pictures
    ),
    "parked": Page("One gateway", (RSS, Column("% of a core", "less", 1)), _parked),
    "sharing": Page("Users take turns: from the commit to a job's handler", (MS,), _sharing),
    "platform": Page("/rest/v1 and /auth/v1", LOADED, _platform),
    "storage": Page("/storage/v1", LOADED, _storage),
    "realtime": Page("From a commit to the frame at a subscriber", (P50, P99), _realtime),
    "hostile": Page(
        "Memory under attack, and what GET /health takes meanwhile",
        (RSS, Column("peak MB", "less"), P50, P99, Column("worst ms", "less")),
        _hostile,
    ),
}
AIMS = (
    "http",
    "processes",
    "gateway",
    "queue",
    "enqueue",
    "jobs",
    "wakeup",
    "claims",
    "pictures",
    "parked",
)
"""The pages of docs/PERFORMANCE.md, and of make bench where PAGES names none."""


def pages_of(names: tuple[str, ...]) -> dict[str, Page]:
    """``all``, or some; none: AIMS. Raises ValueError for an unknown one."""
    if names == ("all",):
        return dict(PAGES)
    if unknown := [name for name in names if name not in PAGES]:
        raise ValueError(f"PAGES: no {', '.join(unknown)}; there are {', '.join(PAGES)}")
    return {name: PAGES[name] for name in names or AIMS}
