"""Natural batching: several prompts in one call; starts and completions that share a round trip."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from functions._shared.database.batching import Batcher
from functions._shared.errors import LeaseLost
from functions._shared.jobs import Job
from functions._shared.metrics.ended import Ended
from functions._shared.settings import Settings
from functions.process_jobs.outcomes import Outcomes
from functions.process_jobs.queue import Ending
from tests.conftest import Edge
from tests.help import BODY


def test_an_array_of_prompts_is_one_id_each(idle_edge: Edge, db):
    prompts = [f"cat {n}" for n in range(50)]
    answer = idle_edge.post("start-generation", {**BODY, "prompt": prompts, "seed": 1}).json()
    assert answer["success"]
    assert answer["status"] == "queued"
    ids = [one["generation_id"] for one in answer["generations"]]
    rows = db.execute("select id::text, prompt from image_generations").fetchall()
    assert {row["id"]: row["prompt"] for row in rows} == dict(zip(ids, prompts, strict=True))
    jobs = {str(row["id"]) for row in db.execute("select id from job_queue").fetchall()}
    assert jobs == {one["job_id"] for one in answer["generations"]}


@pytest.mark.parametrize(
    ("prompts", "text"),
    [
        ([], "1 to 50"),
        (["x"] * 51, "1 to 50"),
        (["a cat", ""], "Prompt is required"),
        (["a cat", 5], "prompt:"),
        ([["a cat"]], "prompt:"),
    ],
)
def test_all_of_them_or_none(idle_edge: Edge, db, prompts, text):
    answer = idle_edge.post("start-generation", {**BODY, "prompt": prompts})
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert db.execute("select count(*) as n from image_generations").fetchone() == {"n": 0}


def test_one_that_the_database_refuses_spoils_none_beside_it(idle_edge: Edge, db):
    """Concurrent, so that they share statements."""
    db.execute(
        "alter table image_generations add constraint no_dogs check (prompt not like '%dog%')"
    )
    bodies = [{**BODY, "prompt": f"a {'dog' if n % 10 == 3 else 'cat'} {n}"} for n in range(60)]
    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(lambda body: idle_edge.post("start-generation", body), bodies))
    for body, answer in zip(bodies, answers, strict=True):
        assert answer.status_code == (500 if "dog" in body["prompt"] else 200)
        if answer.status_code == 200:
            shown = idle_edge.get(f"start-generation/{answer.json()['generation_id']}").json()
            assert shown["prompt"] == body["prompt"], "to each its own answer"
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 54}


async def test_what_comes_during_a_round_trip_shares_the_next_one():
    rounds, began, may_end = [], asyncio.Event(), asyncio.Event()

    async def run(items):
        rounds.append(list(items))
        began.set()
        await may_end.wait()
        return [item * 2 for item in items]

    batcher = Batcher(run, most=3)
    tasks = [asyncio.create_task(batcher.do(n)) for n in range(6)]
    await began.wait()
    may_end.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8, 10]
    assert [item for items in rounds for item in items] == list(range(6))
    assert max(map(len, rounds)) == 3


async def test_when_the_database_is_down_nothing_is_sent_again():
    tried = []

    async def run(items):
        tried.append(len(items))
        raise psycopg.OperationalError("gone")

    batcher = Batcher(run, most=10)
    outcomes = await asyncio.gather(*(batcher.do(n) for n in range(4)), return_exceptions=True)
    assert [type(one) for one in outcomes] == [psycopg.OperationalError] * 4
    assert sum(tried) == 4


async def test_a_bad_item_is_found_by_halves():
    """One by one, a bad item among a thousand would cost a thousand statements."""
    rounds = []

    async def run(items):
        rounds.append(len(items))
        if 700 in items:
            raise ValueError
        return items

    results = await Batcher(run, most=1000).do_all(range(1000))
    assert len(rounds) <= 1 + 2 * 10
    assert type(results[700]) is ValueError
    assert [one for one in results if not isinstance(one, Exception)] == [
        n for n in range(1000) if n != 700
    ]


async def test_groups_stay_whole_and_share_a_round_up_to_the_most():
    rounds, may_end = [], asyncio.Event()

    async def run(items):
        rounds.append(items)
        await may_end.wait()
        return items

    batcher = Batcher(run, most=4)
    groups = [[0], [1, 2], [3, 4], [5, 6, 7, 8, 9], [10], []]
    tasks = [asyncio.create_task(batcher.do_all(group)) for group in groups]
    await asyncio.sleep(0)
    may_end.set()
    assert await asyncio.gather(*tasks) == groups
    assert rounds == [[0, 1, 2], [3, 4], [5, 6, 7, 8, 9], [10]]


async def test_a_cancelled_caller_waits_for_its_own_items_only():
    """Under load rounds follow each other without an end."""
    rounds, may_end = [], {1: asyncio.Event(), 2: asyncio.Event()}

    async def run(items):
        rounds.append(items)
        await may_end[len(rounds)].wait()
        return items

    batcher = Batcher(run, most=1)
    one, other = (asyncio.create_task(batcher.do(n)) for n in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    assert not one.done(), "its item is finished first"
    may_end[1].set()
    with pytest.raises(asyncio.CancelledError):
        await one
    may_end[2].set()
    assert await other == 1


def claimed(db, count: int) -> list[Job]:
    db.execute("select enqueue_job('t', '{}') from generate_series(1, %s)", (count,))
    rows = db.execute(
        "select id, job_type, payload, attempt_number, max_attempts, lease_token from claim_jobs(%s)",
        (count,),
    ).fetchall()
    return [Job(*row.values()) for row in rows]


@pytest.fixture
async def pool(environ):
    from functions._local.defaults import local_environment
    from functions._shared.database.pool import make_pool

    async with make_pool(Settings.from_env(local_environment(environ)), min_size=1) as pool:
        yield pool


async def test_ends_written_together_each_have_their_own(db, pool):
    good, bad, stale, odd, half = claimed(db, 5)
    db.execute("update job_queue set lease_token = 9 where id = %s", (stale.id,))
    outcomes = Outcomes(pool, Ended())
    results = await asyncio.gather(
        outcomes._batcher.do(Ending(job=good, result={"a": 1})),
        outcomes._batcher.do(Ending(job=bad, error="no", retry=False, error_class="bad_input")),
        outcomes._batcher.do(Ending(job=stale, result={})),
        outcomes._batcher.do(Ending(job=odd, result={"no": b"JSON"})),
        outcomes._batcher.do(Ending(job=half, error="half \ud800 a pair", retry=False)),
        return_exceptions=True,
    )
    assert results[:2] == [None, None]
    assert isinstance(results[2], LeaseLost)
    assert isinstance(results[3], Exception), "it cannot be written, and nobody else suffers"
    assert results[4] is None
    rows = db.execute("select id, status, result, error_message from job_queue").fetchall()
    rows = {row.pop("id"): tuple(row.values()) for row in rows}
    assert rows[good.id] == ("completed", {"a": 1}, None)
    assert rows[bad.id] == ("failed", None, "no")
    assert rows[half.id] == ("failed", None, "half � a pair")
    assert rows[stale.id] == rows[odd.id] == ("processing", None, None)


async def test_an_end_whose_answer_was_lost_is_written_again(db, dsn, environ):
    from functions._local.defaults import local_environment
    from functions._shared.database.pool import make_pool
    from scripts.chaos.proxy import proxied

    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    with proxied(int(parts["port"])) as proxy:
        address = psycopg.conninfo.make_conninfo(dsn, port=proxy.port)
        values = local_environment({**environ, "SUPABASE_DB_URL": address})
        async with make_pool(Settings.from_env(values), min_size=1) as pool:
            await pool.wait()
            [job] = claimed(db, 1)
            proxy.lose_answers(True)
            ending = asyncio.create_task(
                Outcomes(pool, Ended())._batcher.do(Ending(job=job, result={"n": 1}))
            )
            await asyncio.to_thread(proxy.has_lost.wait)
            proxy.lose_answers(False)
            await ending
    assert db.execute("select status, result from job_queue").fetchone() == {
        "status": "completed",
        "result": {"n": 1},
    }
