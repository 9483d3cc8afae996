"""The worker's inbox: a job that is handed over begins at once, or goes back where a suspect has the process."""

import asyncio

import pytest

from functions._local.defaults import local_environment
from functions._shared.jobs import Job
from functions._shared.resources import open_resources
from functions._shared.settings import Settings
from functions.process_jobs import jobs
from functions.process_jobs.worker import Worker


def claim(db, worker_id: str) -> Job:
    db.execute("select enqueue_job('handed', '{}')")
    row = db.execute(
        "select id, job_type, payload, attempt_number, max_attempts, lease_token from claim_jobs(1, %s)",
        (worker_id,),
    ).fetchone()
    return Job(**row)


@pytest.fixture
async def resources(environ):
    values = local_environment({**environ, "WORKER_CONCURRENCY": "1"})
    async with open_resources(Settings.from_env(values)) as opened:
        yield opened


async def test_without_a_worker_no_job_is_handed_over(resources):
    assert resources.worker_inbox.with_room() is None


async def test_a_job_begins_at_once_and_takes_the_slot_until_it_ends(resources, db, monkeypatch):
    begun, finish = asyncio.Event(), asyncio.Event()

    async def handler(job, resources):
        begun.set()
        await finish.wait()
        return {}

    monkeypatch.setattr(jobs, "JOBS", {"handed": handler})
    inbox = resources.worker_inbox
    worker = Worker(resources)
    assert inbox.with_room() == inbox.worker_id
    loop = asyncio.create_task(worker._inbox_loop())
    inbox.take(claim(db, inbox.worker_id))
    await begun.wait()
    assert inbox.with_room() is None, "the one slot is taken"
    finish.set()
    await asyncio.gather(*worker._slots.tasks)
    await asyncio.sleep(0)
    assert inbox.with_room() == inbox.worker_id
    assert db.execute("select status from job_queue").fetchone() == {"status": "completed"}
    worker.drain()
    assert inbox.with_room() is None, "a draining worker takes nothing more"
    loop.cancel()


async def test_a_job_that_is_handed_over_during_a_stop_is_released_uncounted(
    resources, db, monkeypatch
):
    """After the others were cancelled; its hand-over was under way when the stop began."""
    inbox = resources.worker_inbox
    late = claim(db, inbox.worker_id)
    first = claim(db, inbox.worker_id)

    async def handler(job, resources):
        try:
            await asyncio.Event().wait()
        finally:
            if job.id == first.id:
                inbox.take(late)
                await asyncio.sleep(0)

    monkeypatch.setattr(jobs, "JOBS", {"handed": handler})
    monkeypatch.setattr("functions.process_jobs.worker.DRAIN_S", 0.01)
    worker = Worker(resources)
    worker.start()
    inbox.take(first)
    while not worker._slots.tasks:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    await worker.stop()
    rows = db.execute("select status, attempt_number from job_queue").fetchall()
    assert rows == [{"status": "pending", "attempt_number": 0}] * 2


async def test_a_draining_worker_begins_nothing_that_is_handed_over(resources, db, monkeypatch):
    """An attempt that is cancelled before its first step could not release its job."""
    monkeypatch.setattr(jobs, "JOBS", {"handed": lambda *_: pytest.fail("begun")})
    inbox = resources.worker_inbox
    worker = Worker(resources)
    loop = asyncio.create_task(worker._inbox_loop())
    worker.drain()
    inbox.take(claim(db, inbox.worker_id))
    while not inbox.handed_over.empty():  # noqa: ASYNC110 - taking it out has no event
        await asyncio.sleep(0)
    await worker._slots.stop()
    loop.cancel()
    row = db.execute("select status, attempt_number from job_queue").fetchone()
    assert row == {"status": "pending", "attempt_number": 0}
