"""queue_history and queue_stats: derived from what has ended, once; cheap beside a million ended jobs."""

import json
from typing import Any

import pytest

from tests.conftest import Database

KEEP = "select picture_edge.keep_queue_history() as more"
ENDED = """
insert into job_queue (
    job_type, status, created_at, scheduled_at, started_at, completed_at, errors
)
select %(job_type)s, %(status)s, t.ended - interval '10 s', t.ended - interval '6 s', t.ended - interval '4 s', t.ended,
    jsonb_build_array('{"class": "older"}'::jsonb, jsonb_build_object('class', %(class)s::text))
from (
    select date_trunc('minute', now()) - %(minutes)s * interval '1 minute' + interval '30 s' as ended
) as t, generate_series(1, %(jobs)s)
"""


@pytest.fixture
def ended(db: Database):
    """End jobs: ``minutes`` ago, each due for 2 s and then 4 s at work."""

    def end(jobs: int = 1, *, minutes: int = 5, status: str = "completed", job_type: str = "a",
            error: str | None = None) -> None:  # fmt: skip
        db.execute(
            ENDED,
            {"jobs": jobs, "minutes": minutes, "status": status, "job_type": job_type, "class": error},
        )  # fmt: skip

    return end


def keep(db: Database) -> int:
    """Keep the history as the processes do, as long as there is more; how many calls it took."""
    for calls in range(1, 100):
        if not db.execute(KEEP).fetchone()["more"]:  # type: ignore[index]
            return calls
    pytest.fail("there is more and more to keep")


def history(db: Database, grain: str = "minute") -> list[Any]:
    query = "select * from queue_history where grain = %s order by begins_at, job_type"
    return db.execute(query, (grain,)).fetchall()


def test_a_minute_is_counted_by_type_with_its_failures_and_times(db: Database, ended):
    ended(3)
    ended(2, status="failed", error="filtered")
    ended(1, status="failed")
    ended(4, status="cancelled")
    ended(1, job_type="b")
    keep(db)
    a, b = history(db)
    assert (a["job_type"], a["completed"], a["failed"], a["cancelled"]) == ("a", 3, 3, 4)
    assert a["failures"] == {"filtered": 2, "unknown": 1}
    for part in ("p50", "p95", "p99"):
        assert a[f"wait_{part}"] == pytest.approx(2, rel=0.05)
        assert a[f"work_{part}"] == pytest.approx(4, rel=0.05)
    assert (b["job_type"], b["completed"], b["failures"]) == ("b", 1, {})


def test_each_end_is_counted_once_however_often_it_is_looked_at(db: Database, ended):
    ended(3)
    keep(db)
    keep(db)
    assert [row["completed"] for row in history(db)] == [3]
    ended(2, minutes=3)
    db.execute("delete from job_queue where completed_at < now() - interval '4 minutes'")
    keep(db)
    assert [row["completed"] for row in history(db)] == [3, 2]


def test_a_minute_that_may_still_get_an_end_is_not_counted(db: Database, ended):
    ended(1, minutes=0)
    keep(db)
    assert history(db) == []


def test_a_gap_is_passed_over_and_old_ends_are_left_out(db: Database, ended):
    for minutes in (49 * 60, 47 * 60, 90, 2):
        ended(minutes=minutes)
    assert keep(db) <= 4
    assert len(history(db)) == 3


def test_hours_add_their_minutes_up_once_they_are_over(db: Database, ended):
    for minutes in (130, 125, 121, 62, 61):
        ended(2, minutes=minutes)
        ended(1, minutes=minutes, status="failed", error="busy")
    keep(db)
    db.execute("delete from job_queue")  # redriven, say
    keep(db)
    per_hour = db.execute(
        "select date_trunc('hour', begins_at) as begins_at, sum(completed) as completed, sum(failed) as failed"
        " from queue_history where grain = 'minute'"
        " and date_trunc('hour', begins_at) + interval '1 hour' <= date_trunc('minute', now() - interval '1 minute')"
        " group by 1 order by 1"
    ).fetchall()
    found = [{name: row[name] for name in per_hour[0]} for row in history(db, "hour")]
    assert found == per_hour
    assert sum(row["failures"]["busy"] for row in history(db, "hour")) == sum(
        row["failed"] for row in per_hour
    )
    for row in history(db, "hour"):
        assert row["work_p99"] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.7, 1, 3.3, 59, 4000, 86400])
def test_a_percentile_is_right_within_five_in_a_hundred(db: Database, seconds):
    [row] = db.execute(
        "select picture_edge.percentiles(jsonb_build_object(picture_edge.time_bucket(%s)::text, 1)) as it",
        (seconds,),
    ).fetchall()
    assert row["it"] == pytest.approx([seconds] * 3, rel=0.05)


def test_percentiles_of_a_spread_and_of_nothing(db: Database):
    [row] = db.execute(
        "select picture_edge.percentiles(jsonb_object_agg(bucket, jobs)) as spread,"
        " picture_edge.percentiles('{}') as nothing"
        " from (select picture_edge.time_bucket(n) as bucket, count(*) as jobs from generate_series(1, 1000) as n"
        " group by 1) as buckets"
    ).fetchall()
    assert row["spread"] == pytest.approx([500, 950, 990], rel=0.05)
    assert row["nothing"] == [None, None, None]


def test_odd_rows_stop_nothing(db: Database, ended):
    """As plain SQL may write them: never begun, begun at no time, without errors, with infinite times."""
    ended(5, status="failed")
    db.execute("update job_queue set errors = '[]', started_at = null")
    for column in ("scheduled_at", "started_at", "created_at"):
        for time in ("infinity", "-infinity"):
            ended(1, job_type=f"{column} {time}")
            db.execute(
                f"update job_queue set {column} = '{time}' where job_type = '{column} {time}'"  # type: ignore[arg-type]
            )
    ended(1, job_type="ends")
    db.execute("update job_queue set completed_at = 'infinity' where job_type = 'ends'")
    keep(db)
    assert sum(row["completed"] + row["failed"] for row in history(db)) == 11


def test_one_process_counts_and_the_others_do_not_wait(db: Database, connect, ended):
    ended(1)
    other = connect(autocommit=False)
    assert not other.execute(KEEP).fetchone()["more"]
    db.execute("set lock_timeout = '1ms'")
    db.execute(KEEP)
    assert history(db) == []
    other.commit()
    assert len(history(db)) == 1


def test_what_is_too_old_goes(db: Database):
    db.execute(
        "insert into queue_history (grain, begins_at, job_type, completed, failed, cancelled)"
        " select grain, now() - ago, 'a', 1, 0, 0 from (values ('minute', interval '49 h'), ('minute', '47 h'),"
        " ('hour', '31 d'), ('hour', '29 d')) as kept (grain, ago)"
    )
    keep(db)  # which adds the two minutes up to an hour each
    assert [len(history(db, grain)) for grain in ("minute", "hour")] == [1, 1 + 2]


def test_a_purge_counts_before_it_deletes(db: Database, ended):
    ended(3)
    assert db.execute("select purge_jobs('0') as n").fetchone() == {"n": 3}
    assert [row["completed"] for row in history(db)] == [3]


def stats(db: Database) -> dict[tuple[str, str], Any]:
    rows = db.execute("select * from queue_stats").fetchall()
    return {(row["job_type"], row["status"]): row for row in rows}


def test_the_queue_by_type_and_status(db: Database, enqueue, ended):
    for _ in range(3):
        enqueue()
    db.execute(
        "update job_queue set scheduled_at = now() - interval '90 s' where id in (select id from job_queue limit 1)"
    )
    enqueue(p_scheduled_at="infinity")
    db.execute("select enqueue_job('b', '{}'); select * from claim_jobs(1, p_job_types => '{b}')")
    ended(4)
    keep(db)
    ended(2, minutes=0)  # not in the history yet
    ended(1, status="failed")  # redriven or not: it has failed
    told = stats(db)
    assert told.keys() == {
        ("generate-image", "pending"),
        ("b", "processing"),
        ("a", "completed"),
    }
    waiting = told["generate-image", "pending"]
    assert (waiting["jobs"], waiting["due"]) == (4, 3)
    assert 90 <= waiting["oldest_due_seconds"] < 100
    assert told["b", "processing"]["jobs"] == 1
    assert told["a", "completed"]["jobs"] == 6


def buffers(db: Database, statement: str) -> int:
    """Pages that the statement touches."""
    [row] = db.execute(f"explain (analyze, buffers, format json) {statement}".encode()).fetchall()
    plan = row["QUERY PLAN"]
    plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.slow
def test_a_million_ended_jobs_cost_a_look_nothing(db: Database, enqueue):
    enqueue()
    db.execute(
        "insert into job_queue (job_type, status, started_at, completed_at) select 'a', 'completed', now(),"
        " now() - interval '26 h' - n * interval '1 s' / 10 from generate_series(1, 300000) as n"
    )
    db.execute("vacuum analyze job_queue")
    assert buffers(db, "select * from queue_stats") < 300


def test_users_may_not_look(db: Database, as_role):
    as_role("authenticated", "11111111-1111-4111-8111-111111111111")
    for name in ("queue_stats", "queue_history"):
        with pytest.raises(Exception, match="permission denied"):
            db.execute(f"select * from {name}".encode())
