"""``make bench-check``: the ratios to the floor that kept.json has, measured again; fails where one got 30 % worse.

Ratios only, of figures of the same run: the machine's speed is in both. A ratio is worse only if it is so in each of
TRIES runs, so that a noisy neighbour does not fail it. KEEP=1 writes kept.json instead, with the median of the tries.
"""

import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from scripts.bench.figures import Better, Figure, Row, by_key, ratio_to_floor
from scripts.bench.options import Bench, Options
from scripts.bench.pages import PAGES, Page
from scripts.bench.run import measure
from scripts.bench.throughput import CELLS, throughput
from scripts.interrupts import interruptible

KEPT = Path(__file__).parent / "kept.json"
TRIES = 3
WORSE = 0.3
OPTIONS = Options(seconds=1, rounds=1, count=30, rows=10_000, connections=(64,))
QUEUE = ("floor: two updates", "claim, then complete", "floor: insert 100", "claim_jobs(100)")
"""Beginnings of the names of page queue's cells that are measured."""

Ratios = dict[str, tuple[float, Better]]
"""Key of a figure → its ratio to the floor, and whether more of it is better."""


def main() -> int:
    if os.environ.get("KEEP"):
        runs = [_measured({*_pages()}) for _ in range(TRIES)]
        kept = {key: statistics.median(run[key][0] for run in runs) for key in runs[0]}
        KEPT.write_text(json.dumps({k: round(v, 4) for k, v in kept.items()}, indent=1) + "\n")
        return 0
    kept = json.loads(KEPT.read_text())
    best: Ratios = {}
    for _ in range(TRIES):
        wanted = {key.partition("/")[0] for key in worse(best, kept)}
        best = better_of(best, _measured(wanted))
        if not worse(best, kept):
            break
    for key, before in kept.items():
        found = f"{best[key][0]:.3f}" if key in best else "gone: make bench-check KEEP=1"
        print(f"{key:72}{before:>8.3f} → {found}")
    failed = worse(best, kept)
    for key in failed:
        print(f"worse by more than {WORSE:.0%} in {TRIES} runs: {key}", file=sys.stderr)
    return 1 if failed else 0


def worse(found: Ratios, kept: Mapping[str, float]) -> list[str]:
    """The keys that are worse than kept, or were not found."""
    return [
        key for key, before in kept.items() if key not in found or _is_worse(found[key], before)
    ]


def _is_worse(found: tuple[float, Better], before: float) -> bool:
    value, better = found
    return value < before * (1 - WORSE) if better == "more" else value > before * (1 + WORSE)


def better_of(first: Ratios, second: Ratios) -> Ratios:
    """The better ratio of each key."""
    both = {**first, **second}
    for key in first.keys() & second.keys():
        (one, better), (other, _) = first[key], second[key]
        both[key] = (max(one, other) if better == "more" else min(one, other), better)
    return both


def _measured(names: set[str]) -> Ratios:
    pages = {name: page for name, page in _pages().items() if name in names}
    figures = measure(OPTIONS, pages, lambda *_: None).figures
    return {key: (value, figure.better) for key, value, figure in _ratios(figures)}


def _ratios(figures: list[Figure]) -> Iterator[tuple[str, float, Figure]]:
    """Of rates, and of the medians where there are none: a p99 of few samples says nothing."""
    known = by_key(figures)
    for key, figure in known.items():
        if figure.unit.startswith("p50" if figure.page == "wakeup" else "per second"):
            value = ratio_to_floor(figure, known)
            if value is not None:
                yield key, value, figure


def _pages() -> dict[str, Page]:
    queue = replace(PAGES["queue"], rows=_queue)
    return {"http": PAGES["http"], "queue": queue} | {n: PAGES[n] for n in ("wakeup", "enqueue")}


def _queue(bench: Bench) -> Iterator[Row]:
    cells = [cell for cell in CELLS if cell[0].startswith(QUEUE)]
    for name, rates in throughput(bench.postgres, bench.options.seconds, cells):
        yield Row(name, rates)


if __name__ == "__main__":
    raise SystemExit(interruptible(main))
