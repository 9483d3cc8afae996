"""Metrics of several processes counted together (EDGE_WORKERS): prometheus-client's multiprocess mode, a slot to each.

The library names its files by process id: each restart of a child would leave files behind. Named by slot, a restarted
child goes on where the one before has stopped: no counter falls, and the folder does not grow.
"""

import fcntl
import itertools
import os
from pathlib import Path
from typing import IO

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library's variable: where the processes keep their values, in memory-mapped files. Absent: one process."""

_held: list[IO[str]] = []
"""This process's lock, until its end."""


def take_slot() -> None:
    """Keep this process's values in files of its own slot; to be called before the first metric is made."""
    if folder := os.environ.get(FOLDER):
        slot = _free_slot(Path(folder))
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: slot)


def registry_of_all(own: CollectorRegistry) -> CollectorRegistry:
    """What /metrics shows: ``own``, or the values of all processes."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return own
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)
    return registry


def _free_slot(folder: Path) -> int:
    """The first number whose lock no living process holds (advisory lock, released by the kernel at any death)."""
    for slot in itertools.count():
        lock = (folder / f"slot-{slot}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        return slot
    raise AssertionError("count() does not end")
