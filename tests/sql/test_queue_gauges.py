"""queue_gauges: what /metrics asks of the database, at most every 5 s by all gateways, in bounded time."""

import pytest

GAUGES = "select picture_edge.queue_gauges(%s::interval) as it"
PLAN = "explain (analyze, buffers, format json) select picture_edge.read_gauges()"


def gauges(db, every: str = "0 s"):
    """ "0 s": read anew, however long the last read took."""
    if every == "0 s":
        db.execute("update kept_gauges set took = '0'")
    return db.execute(GAUGES, (every,)).fetchone()["it"]


def test_it_says_how_the_queue_stands(db, enqueue):
    for job_type, ago in (("a", "10 s"), ("a", "-1 hour"), ("b", "1 s")):
        at = db.execute("select now() - %s::interval as it", (ago,)).fetchone()["it"]
        enqueue(p_job_type=job_type, p_scheduled_at=at)
    db.execute("select claim_jobs(1, 'w', '1 hour', '{b}')")
    db.execute("update job_queue set parked = true where status = 'processing'")
    failed = enqueue(p_job_type="c")
    db.execute("update job_queue set status = 'failed' where id = %s", (failed,))
    db.execute("select picture_edge.expect_ticks('1 minute')")
    found = gauges(db)
    assert sorted(map(tuple, found["jobs"])) == [
        ("a", "pending", 2),
        ("b", "parked", 1),
        ("c", "failed", 1),
    ]
    assert list(found["oldest_due_at"]) == ["a"]
    assert 9 < found["read_at"] - found["oldest_due_at"]["a"] < 60
    assert found["read_at"] >= found["ticked_at"]
    assert (found["workers"], found["leases_expired"]) == (0, 0)


def test_within_the_time_it_is_read_once_whoever_asks(db, connect, enqueue):
    first = gauges(db, "1 hour")
    enqueue()
    assert gauges(connect(), "1 hour") == first
    assert gauges(connect(), "0 s") != first


def test_a_read_that_took_long_is_kept_for_a_hundred_times_as_long(db):
    first = gauges(db)
    db.execute("update kept_gauges set took = '1 s', read_at = clock_timestamp() - interval '90 s'")
    assert gauges(db, "5 s") == first
    db.execute("update kept_gauges set read_at = clock_timestamp() - interval '101 s'")
    assert gauges(db, "5 s") != first


def test_nobody_waits_for_another_read(db, connect):
    first, other = gauges(db), connect()
    db.execute("update kept_gauges set read_at = '-infinity'")
    with other.transaction():
        other.execute(
            "select pg_advisory_xact_lock(hashtextextended('picture_edge.queue_gauges', 0))"
        )
        assert gauges(db, "5 s") == first
    assert gauges(db, "5 s") != first


def test_expired_leases_are_counted_whoever_finds_them(db, enqueue):
    for _ in range(3):
        enqueue(p_job_type="t")
    db.execute("select claim_jobs(3, 'w', '1 ms', '{t}')")
    db.execute("select pg_sleep(0.01), picture_edge.requeue_expired()")
    assert gauges(db)["leases_expired"] == 3


@pytest.mark.slow
def test_what_waits_is_counted_without_reading_a_job(db):
    """Of 20,000 waiting and 20,000 ended jobs: pages of one index, however wide the jobs are."""
    db.execute(
        "insert into job_queue (job_type, payload, status, completed_at)"
        " select 't', jsonb_build_object('x', repeat('x', 500)), status, ended"
        " from (values ('pending', null::timestamptz), ('completed', now())) as it (status, ended),"
        " generate_series(1, 20000)"
    )
    db.execute("vacuum analyze job_queue")
    heap = db.execute("select pg_relation_size('job_queue') / 8192 as pages").fetchone()["pages"]
    gauges(db)
    plan = db.execute(PLAN).fetchone()["QUERY PLAN"][0]["Plan"]
    read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert read < heap / 5, (read, heap)
    assert gauges(db)["jobs"] == [["t", "pending", 20000]]
