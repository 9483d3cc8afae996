"""Observations that are added together are the same as those added one by one."""

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from functions._shared.metrics.pending import MOST, Pending, observe_all

BUCKETS = (0.01, 0.1, 1, 10)


def histogram() -> tuple[Histogram, CollectorRegistry]:
    registry = CollectorRegistry()
    return Histogram("it", "it", ["a"], registry=registry, buckets=BUCKETS), registry


@given(st.lists(st.sampled_from([0.0, 0.01, 0.011, 0.1, 0.5, 1.0, 9.99, 10.0, 10.1, 1e9])))
def test_a_group_is_counted_as_its_members(amounts):
    (one_by_one, first), (together, second) = histogram(), histogram()
    one_by_one.labels("x")
    for amount in amounts:
        one_by_one.labels("x").observe(amount)
    observe_all(together, ("x",), amounts)
    lines, others = (generate_latest(it).decode().splitlines() for it in (first, second))
    for line, other in zip(lines, others, strict=True):
        assert line.split()[:-1] == other.split()[:-1]
        if line[0] != "#" and "created" not in line:
            # Summed in another order.
            assert abs(float(line.split()[-1]) - float(other.split()[-1])) < 1e-3, line


def test_rows_are_written_in_their_order_and_no_more_than_most_wait():
    written: list[list[int]] = []
    pending = Pending[int](lambda rows: written.append(list(rows)))
    for row in range(MOST + 5):
        pending.add(row)
    assert [len(rows) for rows in written] == [MOST]
    pending.flush()
    pending.flush()
    assert [row for rows in written for row in rows] == list(range(MOST + 5))
    assert len(written) == 2


def test_none_is_lost_between_threads():
    written: list[int] = []
    pending = Pending[int](written.extend)

    def add() -> None:
        for row in range(5000):
            pending.add(row)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        pending.flush()
    pending.flush()
    assert sorted(written) == sorted([*range(5000)] * 4)
