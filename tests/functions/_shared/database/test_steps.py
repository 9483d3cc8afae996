"""Steps of many jobs in one statement: how many statements, a refused one, a locked one."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.database.pool import Pool, make_pool
from functions._shared.database.steps import Step
from functions._shared.settings import Settings
from tests.help import eventually

STEP = Step(
    call="picture_edge.held_job(given.job_id, given.lease_token)",
    reads="step.id as held, txid_current() as transaction",
    columns={"job_id": "uuid", "lease_token": "bigint"},
)


@pytest.fixture
async def pool(environ) -> AsyncIterator[Pool]:
    async with make_pool(Settings.from_env(local_environment(environ)), min_size=4) as opened:
        yield opened


@pytest.fixture
def jobs(db) -> list[tuple]:
    db.execute("select enqueue_job('bench', '{}') from generate_series(1, 20)")
    claimed = db.execute("select id, lease_token from claim_jobs(20, 'w', '1 min', '{bench}')")
    return [(row["id"], row["lease_token"]) for row in claimed]


async def held(pool: Pool, job: tuple) -> tuple:
    row = await STEP.run(pool, *job)
    return row["held"], row["transaction"]


async def test_steps_that_come_during_a_round_trip_share_one_transaction(pool, jobs):
    done = await asyncio.gather(*(held(pool, job) for job in jobs))
    assert [job_id for job_id, _ in done] == [job_id for job_id, _ in jobs]
    assert len({transaction for _, transaction in done}) == 1


async def test_a_refused_step_spoils_none_of_its_neighbours(pool, jobs):
    (job_id, token), *others = jobs
    stale, *done = await asyncio.gather(
        *(held(pool, job) for job in [(job_id, token - 1), *others]), return_exceptions=True
    )
    assert isinstance(stale, psycopg.Error)
    assert stale.sqlstate == "PT409"
    assert [found[0] for found in done] == [job_id for job_id, _ in others]


async def test_a_locked_job_holds_up_itself_alone(pool, jobs, connect):
    operator = connect(autocommit=False)
    operator.execute("select from job_queue where id = %s for update", (jobs[3][0],))
    tasks = [asyncio.create_task(held(pool, job)) for job in jobs]
    done = await asyncio.gather(*(task for at, task in enumerate(tasks) if at != 3))
    assert len(done) == 19
    assert not tasks[3].done()
    await asyncio.gather(*(held(pool, job) for job in jobs[4:]))  # nor does it hold up later ones
    operator.rollback()
    assert (await tasks[3])[0] == jobs[3][0]


async def test_a_deadlock_fails_no_step(pool, jobs, connect):
    """A batch holds several generations, so may a user's statement, in another order; advisory locks stand for them."""
    jobs = sorted(jobs)[:5]  # the order that a batch takes them in
    locking = Step(
        call="(select given.job_id as id from pg_advisory_xact_lock(given.lease_token))",
        reads="step.id as held",
        columns={"job_id": "uuid", "lease_token": "bigint"},
    )
    user = connect(autocommit=False)
    user.execute("set deadlock_timeout = '1h'")  # the batch is the victim
    user.execute("select pg_advisory_xact_lock(2)")
    steps = asyncio.gather(*(locking.run(pool, job_id, n) for n, (job_id, _) in enumerate(jobs)))
    watcher = connect()
    waiting = "select 1 as it from pg_locks where not granted"
    await asyncio.to_thread(eventually, lambda: watcher.execute(waiting).fetchone())
    await asyncio.to_thread(user.execute, "select pg_advisory_xact_lock(1)")
    assert not steps.done()
    user.rollback()
    assert [row["held"] for row in await steps] == [job_id for job_id, _ in jobs]
