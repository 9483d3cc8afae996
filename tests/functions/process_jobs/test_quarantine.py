"""A job that two workers have died with runs with nothing beside it: the guilty one stops, its neighbours complete."""

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from functions._local.defaults import local_environment
from functions._shared.jobs import WorkerInbox
from functions.process_jobs import jobs, quarantine
from functions.process_jobs.worker import Worker
from scripts.postgres import free_port
from tests.conftest import running_edge
from tests.functions.process_jobs.test_process_jobs import process
from tests.help import BANANA, PROJECT, eventually, start, until

SUSPECT = (
    "insert into job_queue (job_type, crash_count, share_rank, max_attempts)"
    " values ('suspect', 2, -1, 1) returning id"
)
ALWAYS = threading.Event()
ALWAYS.set()
STATUSES = "select job_type, status from job_queue order by job_type, created_at"


class Stage:
    """Handlers that wait to be let go, and what was in hand in each process whenever one began."""

    def __init__(self) -> None:
        self.let_go = {name: threading.Event() for name in ("suspect", "slow")}
        self.in_hand: Counter = Counter()
        self.began: list[tuple[str, dict[str, int]]] = []

    async def run(self, job, resources):
        worker = resources.worker_inbox.worker_id
        self.in_hand[worker] += 1
        self.began.append((job.job_type, dict(self.in_hand)))
        try:
            while not self.let_go.get(job.job_type, ALWAYS).is_set():  # noqa: ASYNC110 - by the test's thread
                await asyncio.sleep(0.005)
        finally:
            self.in_hand[worker] -= 1
        return {}

    def names(self) -> list[str]:
        return [name for name, _ in self.began]

    def until_begun(self, name: str, times: int = 1) -> None:
        eventually(lambda: self.names().count(name) >= times)


@pytest.fixture
def stage(monkeypatch):
    made = Stage()
    handlers = dict.fromkeys(("suspect", "slow", "quick"), made.run)
    monkeypatch.setattr(jobs, "JOBS", {**jobs.JOBS, **handlers})
    monkeypatch.setattr(quarantine, "LOOK_S", 0.01)
    yield made
    for event in made.let_go.values():
        event.set()


def rows(db) -> list[tuple[str, str]]:
    return [tuple(row.values()) for row in db.execute(STATUSES).fetchall()]


def test_it_waits_for_what_is_in_hand_and_the_others_wait_for_it(start_edge, db, stage):
    start_edge()
    db.execute("select enqueue_job('slow', '{}')")
    stage.until_begun("slow")
    db.execute(SUSPECT)
    until(db, "select status from job_queue where job_type = 'suspect'", "processing")
    db.execute("select enqueue_job('quick', '{}') from generate_series(1, 5)")
    assert "suspect" not in stage.names(), "it is reserved only"
    stage.let_go["slow"].set()
    stage.until_begun("suspect")
    assert stage.names() == ["slow", "suspect"]
    assert list(stage.began[1][1].values()) == [1]
    assert rows(db)[:5] == [("quick", "pending")] * 5
    stage.let_go["suspect"].set()
    until(db, "select count(*) from job_queue where status = 'completed'", 7)
    assert stage.names()[2:] == ["quick"] * 5


def test_what_does_not_end_in_time_is_given_back_uncounted(start_edge, db, stage, monkeypatch):
    monkeypatch.setattr(quarantine, "FINISH_S", 0.05)
    start_edge()
    db.execute("select enqueue_job('slow', '{}', p_max_attempts => 1)")
    stage.until_begun("slow")
    db.execute(SUSPECT)
    stage.until_begun("suspect")
    assert list(stage.began[-1][1].values()) == [1]
    row = db.execute("select * from job_queue where job_type = 'slow'").fetchone()
    assert (row["status"], row["attempt_number"], row["errors"]) == ("pending", 0, [])
    for event in stage.let_go.values():
        event.set()
    until(db, "select count(*) from job_queue where status = 'completed'", 2)


def test_an_attempt_that_does_not_heed_a_stop_keeps_its_process_and_the_suspect_waits(
    start_edge, db, stage, monkeypatch
):
    monkeypatch.setattr(quarantine, "FINISH_S", 0.05)
    monkeypatch.setattr(quarantine, "STOPPED_S", 0.05)

    async def deaf(job, resources):
        deaf.begun = True
        while not stage.let_go["slow"].is_set():
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                deaf.asked = True
        return {}

    monkeypatch.setitem(jobs.JOBS, "slow", deaf)
    start_edge()
    db.execute("select enqueue_job('slow', '{}')")
    eventually(lambda: hasattr(deaf, "begun"))
    db.execute(SUSPECT)
    eventually(lambda: hasattr(deaf, "asked"))
    until(db, "select status from job_queue where job_type = 'suspect'", "pending")
    db.execute("select enqueue_job('quick', '{}')")
    until(db, "select status from job_queue where job_type = 'quick'", "completed")
    assert "suspect" not in stage.names()
    # Reserved again and again, and given back uncounted each time.
    kept = "select attempt_number || '/' || crash_count from job_queue where job_type = 'suspect'"
    until(db, kept, "0/2")
    stage.let_go["slow"].set()
    stage.until_begun("suspect")


def test_other_processes_go_on(start_edge, db, stage):
    start_edge()
    start_edge()
    db.execute(SUSPECT)
    stage.until_begun("suspect")
    db.execute("select enqueue_job('quick', '{}') from generate_series(1, 5)")
    until(db, "select count(*) from job_queue where status = 'completed'", 5)
    assert len(stage.began[-1][1]) == 2
    assert rows(db)[-1] == ("suspect", "processing")


def test_a_busy_worker_comes_to_it(start_edge, db, stage):
    """With more to do than it can, all the time."""
    start_edge(WORKER_CONCURRENCY="2")
    db.execute("select enqueue_job('quick', '{}', 9) from generate_series(1, 2000)")
    db.execute(SUSPECT)
    stage.until_begun("suspect")
    waiting = db.execute(
        "select count(*) as n from job_queue where job_type = 'quick' and status = 'pending'"
    )
    assert waiting.fetchone()["n"] > 0
    assert [in_hand for name, in_hand in stage.began if name == "suspect"] == [
        {next(iter(stage.in_hand)): 1}
    ]


def test_many_suspects_leave_half_of_the_time_to_the_others(start_edge, db, stage):
    stage.let_go["suspect"].set()
    start_edge(WORKER_CONCURRENCY="1")
    for _ in range(20):
        db.execute(SUSPECT)
    db.execute("select enqueue_job('quick', '{}') from generate_series(1, 20)")
    until(db, "select count(*) from job_queue where status = 'completed'", 40)
    assert "quick" in stage.names()[: stage.names().index("suspect") + 20]


async def test_after_a_long_one_the_others_have_as_long(monkeypatch):
    monkeypatch.setattr(quarantine, "LOOK_S", 0)
    ours = quarantine.Quarantine(None, "", None)

    async def long():
        await asyncio.sleep(0.1)
        return object()

    monkeypatch.setattr(ours, "run_one", long)
    assert await ours.run_due()
    assert not await ours.run_due()


def test_its_lease_is_kept_while_it_waits(start_edge, db, stage, monkeypatch):
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 0.6)
    start_edge()
    db.execute("select enqueue_job('slow', '{}')")
    stage.until_begun("slow")
    db.execute(SUSPECT)
    until(db, "select status from job_queue where job_type = 'suspect'", "processing")
    # Three leases later it is still ours.
    kept = (
        "select lease_expires_at > started_at + interval '2 s' and status = 'processing' as it"
        " from job_queue where job_type = 'suspect'"
    )
    until(db, kept, True)
    row = db.execute("select * from job_queue where job_type = 'suspect'").fetchone()
    assert (row["crash_count"], row["lease_token"]) == (2, 1)
    stage.let_go["slow"].set()
    stage.until_begun("suspect")


def test_by_hand_suspects_come_after_the_others_each_alone(idle_edge, db, stage):
    stage.let_go["suspect"].set()
    for _ in range(2):
        db.execute(SUSPECT)
    db.execute("select enqueue_job('quick', '{}') from generate_series(1, 2)")
    answer = process(idle_edge)
    assert (answer["processed"], answer["errors"]) == (3, 0)
    assert stage.names() == ["quick", "quick", "suspect"]
    assert stage.began[-1][1] == {next(iter(stage.in_hand)): 1}
    assert process(idle_edge)["processed"] == 1


def test_a_call_by_hand_waits_for_the_one_that_runs_alone(start_edge, db, stage):
    edge = start_edge()
    db.execute(SUSPECT)
    stage.until_begun("suspect")
    db.execute("select enqueue_job('quick', '{}')")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(process, edge)
        assert edge.get("start-generation/x").status_code in {400, 404}, "it serves meanwhile"
        assert rows(db)[0] == ("quick", "pending")
        stage.let_go["suspect"].set()
        assert answer.result()["errors"] == 0
    until(db, "select count(*) from job_queue where status = 'completed'", 2)


def test_a_picture_that_is_made_meanwhile_is_stored_afterwards(start_edge, db, stage, sandbox):
    """By the worker that claimed it on the way as well: its download goes back to the queue."""
    edge = start_edge()
    start(edge, model_id=BANANA, prompt="a cat [fault:hang]")
    until(db, "select count(*) from predictions where status = 'running'", 1)
    db.execute(SUSPECT)
    stage.until_begun("suspect")
    [prediction] = sandbox.state.predictions.values()
    prediction.faults = frozenset()
    until(db, "select count(*) from job_queue where job_type = 'download-image'", 1)
    row = db.execute("select * from job_queue where job_type = 'download-image'").fetchone()
    assert (row["status"], row["attempt_number"]) == ("pending", 0)
    stage.let_go["suspect"].set()
    until(db, "select status from image_generations", "completed")


def test_a_job_that_is_handed_over_too_late_goes_back_uncounted(
    start_edge, db, stage, sandbox, monkeypatch
):
    """It was claimed for this worker in the moment before a suspect had it."""
    workers = []
    begin = Worker.start
    monkeypatch.setattr(Worker, "start", lambda self: (workers.append(self), begin(self))[1])
    monkeypatch.setattr(WorkerInbox, "with_room", lambda self: self.worker_id)
    edge = start_edge()
    start(edge, model_id=BANANA, prompt="a cat [fault:hang]")
    until(db, "select count(*) from predictions where status = 'running'", 1)
    db.execute(SUSPECT)
    stage.until_begun("suspect")
    [prediction] = sandbox.state.predictions.values()
    prediction.faults = frozenset()
    until(
        db,
        "select count(*) from job_queue where job_type = 'download-image' and lease_token > 0",
        1,
    )
    until(db, "select status from job_queue where job_type = 'download-image'", "pending")
    row = db.execute("select * from job_queue where job_type = 'download-image'").fetchone()
    assert (row["attempt_number"], row["errors"]) == (0, [])
    assert len(workers[0]._slots.tasks) == 1
    stage.let_go["suspect"].set()
    until(db, "select status from image_generations", "completed")


@pytest.mark.parametrize("begun", [True, False], ids=["alone", "reserved"])
def test_at_a_stop_it_is_given_back_uncounted(environ, db, stage, monkeypatch, begun):
    monkeypatch.setattr("functions.process_jobs.worker.DRAIN_S", 0.1)
    with running_edge(**environ):
        if not begun:
            db.execute("select enqueue_job('slow', '{}')")
            stage.until_begun("slow")
        db.execute(SUSPECT)
        until(db, "select status from job_queue where job_type = 'suspect'", "processing")
        if begun:
            stage.until_begun("suspect")
    row = db.execute("select * from job_queue where job_type = 'suspect'").fetchone()
    assert (row["status"], row["attempt_number"], row["crash_count"]) == ("pending", 0, 2)
    assert ("suspect" in stage.names()) == begun


def test_a_suspect_that_is_cancelled_before_it_began_is_left_alone(start_edge, db, stage):
    start_edge()
    db.execute("select enqueue_job('slow', '{}')")
    stage.until_begun("slow")
    job_id = db.execute(SUSPECT).fetchone()["id"]
    until(db, "select status from job_queue where job_type = 'suspect'", "processing")
    db.execute("select cancel_job(%s)", (job_id,))
    stage.let_go["slow"].set()
    db.execute("select enqueue_job('quick', '{}')")
    until(db, "select count(*) from job_queue where status = 'completed'", 2)
    assert "suspect" not in stage.names()


# Real processes, which really die.

POISONED = """
import asyncio, os, signal, sys
from functions._shared import jobs as shared_jobs
from functions.process_jobs import jobs, quarantine, worker
shared_jobs.LEASE_S = 1.0
quarantine.LOOK_S = 0.05
worker.POLL_S = 0.1

harmless = asyncio.Event()  # no poison runs in this process
harmless.set()

async def poison(job, resources):
    harmless.clear()
    await asyncio.sleep(0.1)  # until its neighbours run
    os.kill(os.getpid(), signal.SIGKILL)

async def innocent(job, resources):
    await harmless.wait()
    return {}

jobs.JOBS = {"poison": poison, "innocent": innocent}
from functions.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("processes", [1, 2])
def test_the_guilty_one_stops_and_its_neighbours_complete(environ, db, processes):
    """Each has one attempt only, and processes are started again as they die."""
    db.execute("select enqueue_job('poison', '{}', 5, p_max_attempts => 1)")
    db.execute(
        "select enqueue_job('innocent', '{}', p_max_attempts => 1) from generate_series(1, 12)"
    )
    deaths = 0
    with ExitStack() as stack:

        def begin() -> "subprocess.Popen[bytes]":
            values = local_environment({**environ, "EDGE_PORT": str(free_port())})
            child = subprocess.Popen(
                [sys.executable, "-c", POISONED],
                cwd=PROJECT,
                env={**os.environ, **values},
                stderr=subprocess.DEVNULL,
            )
            stack.callback(child.wait)
            stack.callback(child.kill)
            return child

        running = [begin() for _ in range(processes)]
        open_jobs = "select count(*) as n from job_queue where status in ('pending', 'processing')"

        def all_ended() -> bool:
            nonlocal deaths
            for place, child in enumerate(running):
                if child.poll() is not None:
                    assert child.returncode == -9
                    deaths += 1
                    running[place] = begin()
            db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
            return db.execute(open_jobs).fetchone() == {"n": 0}

        eventually(all_ended, timeout_s=150)
    guilty = db.execute("select * from job_queue where job_type = 'poison'").fetchone()
    assert (guilty["status"], guilty["crash_count"]) == ("failed", 3)
    assert guilty["error_message"].startswith("Poisonous: three of its workers stopped answering")
    ended = db.execute(
        "select status, max(attempt_number) as most, count(*) as n from job_queue"
        " where job_type = 'innocent' group by 1"
    ).fetchall()
    assert ended == [{"status": "completed", "most": 1, "n": 12}]
    assert deaths <= 3, "the last may not have been seen"
