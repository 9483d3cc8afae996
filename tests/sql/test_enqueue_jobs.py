"""enqueue_jobs: many in one statement, as if they were enqueued one by one."""

import random
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.help import OTHER, USER, claimed, refused, until_blocked

KEYS = """
select enqueue_jobs(
    array_fill('t'::text, array[%(n)s]), array_fill('{}'::jsonb, array[%(n)s]), p_dedupe_keys => %(keys)s
) as id
"""
ROWS = """
select
    payload ->> 'n' as n, job_type, priority, max_attempts, created_by, share_rank, dedupe_key,
    scheduled_at > now() as later
from job_queue order by (payload ->> 'n')::int
"""


def some_jobs(seed: int, count: int = 60) -> dict[str, list[object]]:
    dice = random.Random(seed)  # noqa: S311 - the same jobs each time
    return {
        "types": [dice.choice(["generate-image", "t"]) for _ in range(count)],
        "payloads": [Jsonb({"n": n}) for n in range(count)],
        "priorities": [dice.choice([None, 0, 5]) for _ in range(count)],
        "attempts": [dice.choice([None, 1, 7]) for _ in range(count)],
        "times": [dice.choice([None, None, "2020-01-01", "2100-01-01"]) for _ in range(count)],
        "keys": [dice.choice([None, None, "a", "b"]) for _ in range(count)],
        "users": [dice.choice([None, USER, USER, OTHER]) for _ in range(count)],
    }


def together(db, jobs):
    rows = db.execute(
        "select enqueue_jobs(%(types)s, %(payloads)s, %(priorities)s::int[], %(attempts)s::int[],"
        " %(times)s::timestamptz[], %(keys)s::text[], %(users)s::uuid[]) as id",
        jobs,
    ).fetchall()
    return [row["id"] for row in rows]


def one_by_one(db, jobs):
    return [
        db.execute(
            "select enqueue_job(%s, %s, coalesce(%s::int, 0), coalesce(%s::int, 3), %s, %s, %s) as id", job
        ).fetchone()["id"]
        for job in zip(*jobs.values(), strict=True)
    ]  # fmt: skip


def places(ids):
    """Each id as the place where it is first: which jobs are the same one."""
    return [ids.index(one) for one in ids]


@pytest.mark.parametrize("seed", range(6))
def test_they_are_as_if_enqueued_one_by_one(db, seed):
    before, jobs = some_jobs(seed + 100, 20), some_jobs(seed)
    seen = []
    for enqueue in (one_by_one, together):
        db.execute("truncate job_queue")
        one_by_one(db, before)
        db.execute("update job_queue set payload = '{}'")
        ids = enqueue(db, jobs)
        rows = db.execute(ROWS).fetchall()
        seen.append((places(ids), [row for row in rows if row["n"]]))
    assert seen[0] == seen[1]


def test_the_ids_come_in_order_and_so_do_the_jobs(db):
    count = 300
    ids = db.execute(
        "select enqueue_jobs(array_fill('t'::text, array[%(n)s]), array_agg(jsonb_build_object('n', n))) as id"
        " from generate_series(1, %(n)s) as n",
        {"n": count},
    ).fetchall()
    ids = [row["id"] for row in ids]
    rows = db.execute("select id, (payload ->> 'n')::int as n from job_queue").fetchall()
    assert {row["id"]: row["n"] for row in rows} == {id_: n for n, id_ in enumerate(ids, 1)}
    assert claimed(db, count) == ids


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("array['a', ' '], array['{}', '{}']::jsonb[]", "p_job_types[2] must not be empty"),
        ("array['a', null], array['{}', '{}']::jsonb[]", "p_job_types[2] must not be empty"),
        ("array['a', 'b'], array['{}', '[]']::jsonb[]", "p_payloads[2] must be a JSON object"),
        ("array['a', 'b'], array[null, '{}']::jsonb[]", "p_payloads[1] must be a JSON object"),
        ("array['a', 'b'], array['{}', '{}']::jsonb[], p_max_attempts => '{1, 0}'", "p_max_attempts[2] must be 1"),
        ("array['a', 'b'], array['{}']::jsonb[]", "one element for each job"),
        ("array['a'], null", "one element for each job"),
        ("array['a'], array['{}']::jsonb[], p_priorities => '{1, 2}'", "one element for each job"),
        ("array['a'], array['{}']::jsonb[], p_created_bys => '{}'", "one element for each job"),
    ],
)  # fmt: skip
def test_a_bad_one_is_named_by_its_place_and_none_is_queued(db, arguments, text):
    assert text in refused(db, f"select enqueue_jobs({arguments})", sqlstate="PT400")
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 0}


def test_none_is_none(db):
    assert db.execute("select enqueue_jobs('{}', '{}')").fetchall() == []


def test_many_are_one_hint(db, dsn):
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("listen picture_edge_jobs")
        db.execute("select enqueue_jobs(array['a', 'b'], array['{}', '{}']::jsonb[])")
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1


def test_a_wrong_name_gets_one_notice(db):
    said: list[str] = []
    db.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    types = ["generate-imge", "generate-imge", "of-my-own", "send-webhook"]
    for _ in range(2):
        db.execute(
            "select enqueue_jobs(%s, array_fill('{}'::jsonb, array[4]))", (types,)
        ).fetchall()
    assert said == ["No handler of ours has the job type generate-imge; perhaps generate-image"] * 2


def test_a_key_whose_job_ends_meanwhile_is_queued(db):
    """The end, as if it were another session's, comes while the batch is inserted."""
    [first] = db.execute(KEYS, {"n": 1, "keys": ["k"]}).fetchall()
    db.execute(
        "create function end_it() returns trigger language plpgsql as"
        " $$ begin perform public.cancel_job(id) from public.job_queue where dedupe_key = 'k'; return new; end $$;"
        "create trigger end_it before insert on job_queue for each row"
        " when (new.dedupe_key = 'other') execute function end_it()"
    )
    again, other = db.execute(KEYS, {"n": 2, "keys": ["k", "other"]}).fetchall()
    rows = db.execute("select id, dedupe_key from job_queue where status = 'pending'").fetchall()
    assert {row["dedupe_key"]: row["id"] for row in rows} == {
        "k": again["id"],
        "other": other["id"],
    }
    assert again != first


def test_a_key_twice_in_a_batch_takes_one_turn(db):
    keys = ["k", "k", None]
    db.execute(
        "select enqueue_jobs(array['t', 't', 't'], array['{}', '{}', '{}']::jsonb[],"
        " p_dedupe_keys => %s, p_created_bys => array_fill(%s::uuid, array[3]))",
        (keys, USER),
    )
    rows = db.execute("select dedupe_key, share_rank from job_queue order by share_rank").fetchall()
    assert [tuple(row.values()) for row in rows] == [("k", 1), (None, 2)]


def test_two_batches_of_the_same_keys_in_other_orders_do_not_deadlock(db, connect):
    first = connect(autocommit=False)
    first.execute(KEYS, {"n": 1, "keys": ["a"]})
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: connect().execute(KEYS, {"n": 2, "keys": ["z", "a"]}).fetchall())
        until_blocked(db, call)
        first.execute(KEYS, {"n": 1, "keys": ["z"]})  # the other waits for "a", and has no "z" yet
        first.commit()
        assert len(call.result()) == 2
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 2}
