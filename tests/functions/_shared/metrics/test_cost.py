"""What counting costs a request and a job, in CPU time: printed; asserted with a margin that only a mistake exceeds."""

import time
from uuid import UUID

import pytest

from functions._shared.metrics import recording

V7 = UUID("019a0000-0000-7000-8000-000000000000")
MANY = 20_000


def request() -> None:
    recording.request_answered("start-generation", "POST", 200, 0.003)


def job() -> None:
    recording.attempt_ended(V7, "download-image", 1, 1.7e9, "completed")


@pytest.mark.parametrize(("count", "most_us"), [(request, 2.0), (job, 4.0)])
def test_counting_is_cheap(count, most_us, capsys):
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(MANY):
            count()
        recording.flush()
        rounds.append((time.thread_time() - began) / MANY * 1e6)
    with capsys.disabled():
        print(f" {count.__name__}: {min(rounds):.2f} us", end="")
    assert min(rounds) < 10 * most_us
