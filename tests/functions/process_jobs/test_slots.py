"""Slots: handlers that never wait share a task and a statement, one that waits holds up nobody, none is lost."""

import asyncio
from collections import deque
from types import SimpleNamespace
from uuid import uuid4

import pytest

from functions._local.defaults import local_environment
from functions._shared.errors import InvalidRequest
from functions._shared.jobs import Job
from functions._shared.logs import request_id
from functions._shared.metrics.ended import Ended
from functions._shared.resources import open_resources
from functions._shared.settings import Settings
from functions.process_jobs import jobs, queue, slots
from functions.process_jobs.outcomes import Outcomes
from functions.process_jobs.slots import Slots

ROWS = "select status, attempt_number from job_queue order by status"


def claimed(db, count: int) -> list[Job]:
    db.execute("select enqueue_job('t', '{}') from generate_series(1, %s)", (count,))
    rows = db.execute(
        "select id, job_type, payload, attempt_number, max_attempts, lease_token from claim_jobs(%s)",
        (count,),
    ).fetchall()
    return [Job(**row) for row in rows]


@pytest.fixture
async def resources(environ):
    async with open_resources(Settings.from_env(local_environment(environ))) as opened:
        yield opened


@pytest.fixture
def ours(resources) -> Slots:
    return Slots(resources, Outcomes(resources.pool, Ended()))


@pytest.fixture
def written(monkeypatch) -> list[int]:
    """How many ends each statement wrote."""
    sizes = []
    real = queue.end_all

    async def end_all(connections, endings):
        sizes.append(len(endings))
        return await real(connections, endings)

    monkeypatch.setattr(queue, "end_all", end_all)
    return sizes


def handle(monkeypatch, handler) -> None:
    monkeypatch.setattr(jobs, "JOBS", {"t": handler})


async def test_handlers_that_never_wait_share_one_task_and_one_statement(
    ours: Slots, db, monkeypatch, written
):
    tasks = set()

    async def handler(job, resources):
        tasks.add(asyncio.current_task())
        return {}

    handle(monkeypatch, handler)
    monkeypatch.setattr(slots, "SLICE_S", 60)
    ours.start(claimed(db, 50))
    assert ours.free == 64 - 50
    await ours.until_empty()
    assert (len(tasks), written, ours.free) == (1, [50], 64)
    assert db.execute("select distinct status from job_queue").fetchall() == [
        {"status": "completed"}
    ]


async def test_one_that_waits_holds_up_neither_those_before_nor_those_behind(
    ours: Slots, db, monkeypatch
):
    batch = claimed(db, 9)
    waiting, go_on = batch[4].id, asyncio.Event()

    async def handler(job, resources):
        if job.id == waiting:
            await go_on.wait()
        return {}

    handle(monkeypatch, handler)
    ours.start(batch)
    await ours.until_ended({job.id for job in batch} - {waiting})
    assert [job.id for job in ours.jobs] == [waiting]
    assert len(ours.tasks) == 1
    go_on.set()
    await ours.until_empty()
    assert not ours.jobs


async def test_a_slice_of_time_ends_and_others_have_the_event_loop(
    ours: Slots, db, monkeypatch, written
):
    async def handler(job, resources):
        return {}

    handle(monkeypatch, handler)
    monkeypatch.setattr(slots, "SLICE_S", -1)
    ours.start(claimed(db, 3))
    await asyncio.sleep(0)
    assert len(ours.jobs) == 3, "no runner had time for one"
    monkeypatch.setattr(slots, "SLICE_S", 60)
    await ours.until_empty()
    assert sum(written) == 3


async def test_what_has_not_begun_is_released_uncounted(ours: Slots, db, monkeypatch):
    handle(monkeypatch, lambda *_: pytest.fail("begun"))
    ours.start(claimed(db, 2))
    ours.interrupt()
    assert not ours.jobs
    await ours.until_empty()
    assert db.execute(ROWS).fetchall() == [{"status": "pending", "attempt_number": 0}] * 2


async def test_what_was_cancelled_before_it_began_does_not_begin(ours: Slots, db, monkeypatch):
    begun = []

    async def handler(job, resources):
        begun.append(job.id)
        return {}

    handle(monkeypatch, handler)
    one, other = claimed(db, 2)
    ours.start([one, other])
    ours.disown({one.id}, cancelled=True)
    assert ours.jobs == [other]
    await ours.until_empty()
    assert begun == [other.id]


async def test_a_handler_that_raises_a_cancellation_of_its_own_costs_its_neighbours_nothing(
    ours: Slots, db, monkeypatch
):
    batch = claimed(db, 5)

    async def handler(job, resources):
        if job.id == batch[2].id:
            raise asyncio.CancelledError
        return {}

    handle(monkeypatch, handler)
    ours.start(batch)
    await ours.until_empty()
    rows = db.execute("select status, count(*)::int as n from job_queue group by 1 order by 1")
    assert rows.fetchall() == [{"status": "completed", "n": 4}, {"status": "pending", "n": 1}]


async def test_a_result_that_is_no_json_spoils_none_beside_it(ours: Slots, db, monkeypatch, caplog):
    batch = claimed(db, 4)

    async def handler(job, resources):
        return {"no": b"JSON"} if job.id == batch[1].id else {"a": None}

    handle(monkeypatch, handler)
    ours.start(batch)
    await ours.until_empty()
    assert not ours.jobs
    rows = db.execute("select id, status, result, error_message from job_queue").fetchall()
    found = {row.pop("id"): tuple(row.values()) for row in rows}
    assert found[batch[1].id] == ("pending", None, "Its result cannot be stored")
    assert [found[job.id] for job in batch if job != batch[1]] == [
        ("completed", {"a": None}, None)
    ] * 3
    assert "bug" in caplog.text


async def test_of_ends_written_together_a_lost_lease_is_noted_and_the_others_stand(
    ours: Slots, db, monkeypatch, caplog
):
    async def handler(job, resources):
        return {}

    handle(monkeypatch, handler)
    stale, good = claimed(db, 2)
    db.execute("update job_queue set lease_token = 9 where id = %s", (stale.id,))
    ours.start([stale, good])
    await ours.until_empty()
    assert "is no longer held" in caplog.text
    rows = db.execute("select id, status from job_queue").fetchall()
    assert {row["id"]: row["status"] for row in rows} == {
        stale.id: "processing",
        good.id: "completed",
    }


class Panic(BaseException):
    """As pyo3's PanicException: no Exception."""


async def test_a_panic_of_a_handler_costs_neither_those_before_nor_those_behind(
    ours: Slots, db, monkeypatch
):
    batch = claimed(db, 5)

    async def handler(job, resources):
        if job.id == batch[2].id:
            raise Panic
        return {}

    handle(monkeypatch, handler)
    ours.start(batch)
    await ours.until_empty()
    assert not ours.jobs, "the lease of none is renewed for ever"
    rows = db.execute("select status, count(*)::int as n from job_queue group by 1 order by 1")
    assert rows.fetchall() == [{"status": "completed", "n": 4}, {"status": "processing", "n": 1}]


async def test_a_handler_that_cancels_its_own_task_spoils_no_end_beside_it(
    ours: Slots, db, monkeypatch
):
    batch = claimed(db, 5)

    async def handler(job, resources):
        if job.id == batch[2].id:
            asyncio.current_task().cancel()
        return {}

    handle(monkeypatch, handler)
    monkeypatch.setattr(slots, "SLICE_S", 60)
    ours.start(batch)
    await ours.until_empty()
    assert db.execute("select distinct status from job_queue").fetchall() == [
        {"status": "completed"}
    ]


async def test_what_a_request_has_started_does_not_pass_its_id_on(ours: Slots, db, monkeypatch):
    seen = []

    async def handler(job, resources):
        seen.append(request_id.get())
        return {}

    handle(monkeypatch, handler)

    async def call() -> None:
        request_id.set("of a call of process-jobs")
        ours.start(claimed(db, 1))

    await asyncio.create_task(call())
    ours.start(claimed(db, 1))
    await ours.until_empty()
    assert seen == ["", ""]


async def test_of_hundreds_of_results_a_bad_one_is_found_by_halves(
    ours: Slots, db, monkeypatch, written
):
    batch = claimed(db, 64)

    async def handler(job, resources):
        return {"no": b"JSON"} if job.id == batch[41].id else {}

    handle(monkeypatch, handler)
    monkeypatch.setattr(slots, "SLICE_S", 60)
    ours.start(batch)
    await ours.until_empty()
    assert len(written) <= 1 + 2 * 6 + 1
    rows = db.execute("select status, count(*)::int as n from job_queue group by 1 order by 1")
    assert rows.fetchall() == [{"status": "completed", "n": 63}, {"status": "pending", "n": 1}]


async def test_runners_share_a_statement_for_what_ends_during_one(
    ours: Slots, db, monkeypatch, written
):
    """Each by itself would wait for all before it, at a stop without a database for seconds each."""
    batch = claimed(db, 30)

    async def handler(job, resources):
        return {}

    handle(monkeypatch, handler)
    clock = iter(range(10**6))
    monkeypatch.setattr(slots, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(slots, "SLICE_S", 3)  # two jobs a runner
    ours.start(batch)
    await ours.until_empty()
    assert sum(written) == 30
    assert len(written) < 8


async def test_a_storm_of_cancellations_of_others_jobs_costs_nothing(ours: Slots, db, monkeypatch):
    """Each is compared with the jobs in hand by its id, not with every one of them."""
    handle(monkeypatch, lambda *_: pytest.fail("begun"))
    ours.start(claimed(db, 3))
    line = ours._line = Looked(ours._line)
    for _ in range(100):
        ours.disown({uuid4()}, cancelled=True)
    assert not line.looks
    ours.disown({job.id for job in ours.jobs}, cancelled=True)
    assert line.looks
    await ours.until_empty()


class Looked(deque):
    looks = 0

    def __iter__(self):
        self.looks += 1
        return super().__iter__()


BEYOND_PYTHON = {
    "deep": """('{"a":' || repeat('[', 3000) || repeat(']', 3000) || '}')::jsonb""",
    "digits": """('{"a":' || repeat('9', 5000) || '}')::jsonb""",
}


@pytest.mark.parametrize("payload", BEYOND_PYTHON.values(), ids=BEYOND_PYTHON)
async def test_a_payload_that_python_cannot_read_fails_no_claim(resources, db, payload):
    """Poison message: raised in the claim, it would kill the neighbours' attempts, and then the quarantine's loop."""
    db.execute(f"select enqueue_job('t', '{{}}'), enqueue_job('t', {payload})".encode())
    claimed = await queue.claim(resources.pool, 9, "w", ["t"])
    assert [job.payload for job in claimed] == [{}, queue.UNREADABLE]
    suspect = (
        "insert into job_queue (job_type, payload, crash_count, share_rank)"
        f" values ('t', {payload}, 2, -1)"
    )
    db.execute(suspect.encode())
    found = await queue.claim_suspect(resources.pool, "w", ["t"])
    assert found
    assert found.payload == queue.UNREADABLE


async def test_a_payload_deeper_than_the_fast_parser_reads_is_read(resources, db):
    db.execute(
        "select enqueue_job('t', jsonb_build_object('a', (repeat('[', 500) || repeat(']', 500))::jsonb))"
    )
    [job] = await queue.claim(resources.pool, 9, "w", ["t"])
    assert isinstance(job.payload["a"], list)


@pytest.mark.parametrize("job_type", jobs.JOBS)
async def test_handlers_refuse_a_payload_that_could_not_be_read(resources, job_type):
    job = Job(uuid4(), job_type, queue.UNREADABLE, 1, 1, 1)
    with pytest.raises(InvalidRequest):
        await jobs.JOBS[job_type](job, resources)
