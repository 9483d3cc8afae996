"""What operators and batches do to jobs: sql/24 to 29, 37, 41, 42 beyond the first promises of test_queue.py."""

import pytest
from psycopg.types.json import Jsonb

from tests.sql.help import USER, claim, claimed, due, expire, job_row, refused

NOBODY = "99999999-9999-4999-8999-999999999999"


def status(db, job_id):
    return job_row(db, job_id)["status"]


def fail(db, job_id):
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (job_id,))


# Claims


def test_a_batch_comes_in_order_over_types_and_priorities(db, enqueue):
    low, high = enqueue(), enqueue(p_priority=5)
    other = enqueue(p_job_type="a-type")
    assert claimed(db) == [high, low, other]


def test_the_best_of_several_parts_are_taken(db, enqueue):
    lows, highs = [enqueue() for _ in range(3)], [enqueue(p_priority=5) for _ in range(3)]
    assert claimed(db, 4) == [*highs, lows[0]]


def test_a_low_priority_does_not_starve(db, enqueue):
    """Nine urgent jobs for each other one: after ten minutes a point of priority it is that one's turn."""
    starving = enqueue(p_priority=0)
    for _ in range(9):
        enqueue(p_priority=6)
    assert claimed(db, 1) != [starving]
    db.execute(
        "update job_queue set scheduled_at = now() - interval '59 minutes' where id = %s",
        (starving,),
    )
    assert claimed(db, 1) != [starving]
    db.execute(
        "update job_queue set scheduled_at = now() - interval '61 minutes' where id = %s",
        (starving,),
    )
    assert claimed(db, 1) == [starving]


def test_future_jobs_of_many_priorities_hide_no_due_one(db, enqueue):
    db.execute(
        "select enqueue_job('generate-image', '{}', p, p_scheduled_at => now() + interval '1 year')"
        " from generate_series(1, 300) as p"
    )
    due_one = enqueue()
    assert claimed(db) == [due_one]


def test_a_claim_is_bounded_in_bytes_too_and_hands_out_one_in_any_case(db):
    """64 payloads of a megabyte over 100 Mbit/s were cut after five seconds, each time again."""
    noise = "encode(sha256((n || '-' || m)::text::bytea), 'base64')"
    payload = f"(select string_agg({noise}, '') from generate_series(1, %s / 44) as m)"
    enqueue_noise = (
        "select enqueue_job('x', jsonb_build_object('noise', " + payload + "))"
        " from generate_series(1, %s) as n"
    )
    db.execute(enqueue_noise, (4_000_000, 6))
    counts = [len(claimed(db)) for _ in range(3)]
    assert sum(counts) == 6
    assert max(counts) < 6
    db.execute(enqueue_noise, (20_000_000, 1))
    assert len(claimed(db)) == 1


def test_a_number_of_attempts_at_its_maximum_stops_no_claim(db, enqueue):
    """One such row, set by hand, failed every claim: integer out of range."""
    jobs = {enqueue() for _ in range(2)}
    db.execute(
        "update job_queue set attempt_number = 2147483647, max_attempts = 2147483647 where id = %s",
        (min(jobs),),
    )
    assert set(claimed(db)) == jobs


@pytest.mark.parametrize("user", [None, USER])
def test_only_the_asked_types_are_handed_out(db, enqueue, user):
    enqueue(p_created_by=user)
    mine = enqueue(p_job_type="mine", p_created_by=user)
    enqueue(p_created_by=user)
    assert claimed(db, p_job_types=["mine", "none"]) == [mine]
    assert db.execute("select * from claim_next_job(array['none'])").fetchone() is None


def test_more_priorities_than_lanes_are_looked_at_still_all_run(db):
    db.execute("select enqueue_job('a', '{}', n) from generate_series(1, 250) as n")
    db.execute("select enqueue_job('b', '{}')")
    taken = []
    while rows := claimed(db, 60):
        taken += rows
    assert len(set(taken)) == len(taken) == 251


def test_a_claim_is_not_short_while_a_job_is_free(db, connect, enqueue):
    """Others hold what it would have liked best."""
    for n in range(6):
        enqueue(p_priority=n % 2, p_job_type=f"type-{n % 3}")
    theirs = connect(autocommit=False)
    assert len(claimed(theirs, 3)) == 3
    assert len(claimed(db, 3)) == 3


@pytest.mark.parametrize("call", ["claim_jobs(0)", "claim_jobs(null)", "claim_jobs(1, 'w', '0 s')"])
def test_a_senseless_claim_is_refused(db, call):
    assert "must be" in refused(db, f"select * from {call}", sqlstate="PT400")


def test_the_worker_and_the_length_of_the_lease_are_kept(db, enqueue):
    job_id = enqueue()
    row = db.execute("select * from claim_next_job(null, 'me', '1 hour')").fetchone()
    assert job_row(db, job_id)["worker_id"] == "me"
    assert (row["lease_expires_at"] - job_row(db, job_id)["started_at"]).total_seconds() >= 3599


# Pauses and dedupe


@pytest.mark.parametrize("user", [None, USER])
@pytest.mark.parametrize("paused", ["generate-image", None])
def test_a_paused_queue_hands_out_nothing_and_loses_nothing(db, enqueue, paused, user):
    running = enqueue()
    token = claim(db)["lease_token"]
    arguments = (paused,) if paused else ()
    db.execute(f"select pause_queue({'%s' if paused else ''})", arguments)
    waiting = enqueue(p_created_by=user)
    other = enqueue(p_job_type="other", p_created_by=user)
    assert claimed(db) == ([other] if paused else [])
    db.execute("select complete_job(%s, p_lease_token => %s)", (running, token))
    assert db.execute("select paused_types from queue_status").fetchone() == {
        "paused_types": [paused or "*"]
    }
    assert db.execute("select resume_queue() as done").fetchone() == {"done": True}
    assert db.execute("select resume_queue() as done").fetchone() == {"done": False}
    assert waiting in claimed(db)


def test_a_dedupe_key_is_one_active_job_of_a_type(db, enqueue):
    first = enqueue(p_dedupe_key="k")
    assert enqueue(p_dedupe_key="k") == first
    assert enqueue(p_dedupe_key="k", p_job_type="other") != first
    claim(db)
    assert enqueue(p_dedupe_key="k") == first, "running is active"
    db.execute("select complete_job(%s)", (first,))
    assert enqueue(p_dedupe_key="k") != first


def test_a_redrive_does_not_break_a_dedupe_key(db, enqueue):
    first = enqueue(p_dedupe_key="k")
    claim(db)
    fail(db, first)
    enqueue(p_dedupe_key="k")
    assert "dedupe key k" in refused(db, "select redrive_job(%s)", (first,))
    assert db.execute("select redrive_failed() as n").fetchone() == {"n": 0}


# Ends


def test_a_batch_of_ends_each_under_its_own_token(db, enqueue):
    ids = [enqueue(p_max_attempts=2) for _ in range(5)]
    tokens = {row["id"]: row["lease_token"] for row in db.execute("select * from claim_jobs(5)")}
    call = "select complete_jobs(%s, %s, %s, %s, %s) as id"
    arguments = (
        ids,
        [tokens[job_id] + (job_id == ids[4]) for job_id in ids],
        [Jsonb({"n": 1}), None, None, None, None],
        [None, None, "again", "never", None],
        [None, None, True, False, None],
    )
    for _ in range(2):  # the second time its answer was lost
        assert {row["id"] for row in db.execute(call, arguments)} == set(ids[:4])
        assert [status(db, job_id) for job_id in ids] == [
            "completed", "completed", "pending", "failed", "processing",
        ]  # fmt: skip
    assert job_row(db, ids[0])["result"] == {"n": 1}
    assert len(job_row(db, ids[2])["errors"]) == 1
    refused(db, "select complete_jobs(%s, %s)", (ids, [1]), sqlstate="PT400")


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [("", "transient"), (", p_retry => false", "permanent"), (", p_retry_after => '1 s'", "busy"),
     (", p_error_class => 'filtered'", "filtered")],
)  # fmt: skip
def test_every_attempts_error_is_kept_with_its_class(db, enqueue, arguments, kept):
    job_id = enqueue()
    claim(db)
    db.execute(f"select complete_job(%s, p_error => 'x'{arguments})", (job_id,))
    [error] = job_row(db, job_id)["errors"]
    assert (error["attempt"], error["class"], error["text"]) == (1, kept, "x")
    assert error["at"]


def test_no_more_than_a_hundred_errors_are_kept(db, enqueue):
    job_id = enqueue()
    for n in range(103):
        db.execute(
            "select complete_job(%s, p_error => %s, p_retry_after => '0')",
            (claim(db)["id"], str(n)),
        )
    errors = job_row(db, job_id)["errors"]
    assert (len(errors), errors[0]["text"], errors[-1]["text"]) == (100, "3", "102")


def test_a_person_ends_what_a_worker_has_and_the_worker_is_told(db, enqueue):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    db.execute("select complete_job(%s, '{}')", (job_id,))
    refused(db, "select complete_job(%s, p_lease_token => %s)", (job_id, token))
    fail(db, job_id)
    assert status(db, job_id) == "completed", "what has ended is left alone"


def test_a_person_ends_what_nobody_has(db, enqueue):
    job_id = enqueue()
    db.execute("select complete_job(%s, '{}')", (job_id,))
    assert status(db, job_id) == "completed"


def test_one_lease_is_extended_or_refused(db, enqueue):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    call = (
        "select picture_edge.extend_lease(%s, %s, '1 hour') - now() > interval '59 minutes' as it"
    )
    assert db.execute(call, (job_id, token)).fetchone() == {"it": True}
    refused(db, call, (job_id, token + 1))
    refused(db, call, (NOBODY, 1), sqlstate="PT404")
    db.execute("select complete_job(%s, p_lease_token => %s)", (job_id, token))
    refused(db, call, (job_id, token))


def test_a_job_that_kills_its_workers_ends_after_the_third_however_often_it_is_reset(db, enqueue):
    job_id = enqueue(p_max_attempts=99)
    for _ in range(3):
        assert claim(db)["id"] == job_id
        expire(db, job_id)
        db.execute("update job_queue set attempt_number = 0")
    assert claim(db) is None
    row = job_row(db, job_id)
    assert (row["status"], row["crash_count"]) == ("failed", 3)
    assert row["error_message"].startswith("Poisonous")
    assert [error["class"] for error in row["errors"]] == ["crash"] * 3
    db.execute("update job_queue set status = 'pending', attempt_number = 0, error_message = null")
    assert claim(db)["id"] == job_id, "a reset still revives it"
    expire(db, job_id)
    assert claim(db) is None, "for one more attempt"
    db.execute("select redrive_job(%s)", (job_id,))
    assert job_row(db, job_id)["crash_count"] == 0


def test_a_requeue_takes_expired_leases_only_and_no_more_than_asked(db, enqueue):
    ids = [enqueue() for _ in range(5)]
    claimed(db)
    for job_id in ids[:3]:
        expire(db, job_id)
    count = "select picture_edge.requeue_expired(%s) as n"
    assert [db.execute(count, (2,)).fetchone()["n"] for _ in range(3)] == [2, 1, 0]
    assert sorted(status(db, job_id) for job_id in ids) == ["pending"] * 3 + ["processing"] * 2


# Cancel, redrive, purge


def test_cancel_ends_what_waits_or_runs_once(db, enqueue):
    waiting, running, done = enqueue(), enqueue(p_priority=2), enqueue(p_priority=1)
    token = claim(db)["lease_token"]
    db.execute("select complete_job(%s)", (claim(db)["id"],))
    call = "select cancel_job(%s, 'changed my mind') as it"
    for _ in range(2):
        assert [db.execute(call, (job_id,)).fetchone()["it"] for job_id in (waiting, running, done)] == [
            True, True, False,
        ]  # fmt: skip
    assert (job_row(db, waiting)["error_message"], status(db, done)) == (
        "changed my mind",
        "completed",
    )
    refused(db, "select complete_job(%s, p_lease_token => %s)", (running, token))
    refused(db, call, (NOBODY,), sqlstate="PT404")
    assert claim(db) is None


def test_redrive_runs_a_job_again_with_all_its_attempts(db, enqueue):
    job_id = enqueue(p_max_attempts=1)
    token = claim(db)["lease_token"]
    fail(db, job_id)
    assert db.execute("select redrive_job(%s) as it", (job_id,)).fetchone() == {"it": True}
    assert db.execute("select redrive_job(%s) as it", (job_id,)).fetchone() == {"it": False}
    again = claim(db)
    assert (again["attempt_number"], again["lease_token"] > token) == (1, True)
    assert len(job_row(db, job_id)["errors"]) == 1
    db.execute("select complete_job(%s)", (job_id,))
    refused(db, "select redrive_job(%s)", (job_id,))


def test_redrive_failed_takes_a_type_and_the_oldest_first(db, enqueue):
    ids = [enqueue(p_job_type=kind) for kind in ("a", "a", "a", "b")]
    for job_id in ids:
        fail(db, job_id)
    assert db.execute("select redrive_failed('a', 2) as n").fetchone() == {"n": 2}
    assert [status(db, job_id) for job_id in ids] == ["pending", "pending", "failed", "failed"]
    assert db.execute("select redrive_failed() as n").fetchone() == {"n": 2}


def test_purge_deletes_what_ended_long_ago_and_keeps_failures(db, enqueue):
    ids = {
        name: enqueue(p_dedupe_key=name)
        for name in ("completed", "failed", "cancelled", "young", "waiting")
    }
    db.execute("select complete_job(%s), complete_job(%s)", (ids["completed"], ids["young"]))
    fail(db, ids["failed"])
    db.execute("select cancel_job(%s)", (ids["cancelled"],))
    db.execute(
        "update job_queue set created_at = now() - interval '8 days', completed_at = completed_at - interval '8 days'"
        " where id <> %s", (ids["young"],),
    )  # fmt: skip
    left = "select array_agg(dedupe_key order by dedupe_key) as it from job_queue"
    assert db.execute("select purge_jobs() as n").fetchone() == {"n": 2}
    assert db.execute(left).fetchone() == {"it": ["failed", "waiting", "young"]}
    assert db.execute("select purge_jobs('1 day', '{failed}') as n").fetchone() == {"n": 1}
    refused(db, "select purge_jobs('1 day', '{pending}')", sqlstate="PT400")
    refused(db, "select purge_jobs('-1 day')", sqlstate="PT400")


def test_a_status_written_by_hand_brings_the_rest_with_it(db, enqueue):
    job_id = enqueue()
    db.execute("update job_queue set status = 'processing'")
    assert job_row(db, job_id)["lease_expires_at"], "else nobody would ever take it back"
    db.execute("update job_queue set status = 'cancelled'")
    row = job_row(db, job_id)
    assert (bool(row["completed_at"]), row["lease_expires_at"]) == (True, None)
    db.execute("update job_queue set status = 'pending', attempt_number = 0, error_message = null")
    assert job_row(db, job_id)["completed_at"] is None
    assert claim(db)["id"] == job_id


@pytest.mark.parametrize("table", ["job_queue", "image_generations"])
def test_a_status_that_is_none_is_refused(db, started, table):
    refused(db, f"update {table} set status = 'lost'", sqlstate="23514")


def test_a_job_started_by_hand_is_no_longer_its_former_workers(db, enqueue):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    db.execute("update job_queue set status = 'pending', attempt_number = 0")
    db.execute("update job_queue set status = 'processing'")
    refused(db, "select complete_job(%s, p_lease_token => %s)", (job_id, token))
    assert status(db, job_id) == "processing"


# Generations


def generation_status(db, started):
    rows = db.execute(
        "select status from image_generations where id = %s", (started["generation_id"],)
    )
    return rows.fetchone()["status"]


STATUSES = ["pending", "queued", "processing", "downloading", "completed", "failed", "cancelled"]


@pytest.mark.parametrize("to", STATUSES)
@pytest.mark.parametrize("since", STATUSES)
def test_a_generation_moves_forward_only(db, since, to):
    db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', %s)",
        (USER, since),
    )
    update = "update image_generations set status = %s"
    ended = since in STATUSES[4:]
    if since == to or (not ended and STATUSES.index(to) > STATUSES.index(since)):
        db.execute(update, (to,))
    else:
        assert f"cannot go from {since} to {to}" in refused(db, update, (to,))


@pytest.mark.parametrize("revive", ["redrive", "by hand"])
@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_revived_job_reopens_its_generation(db, started, end, revive):
    job_id = started["job_id"]
    if end == "failed":
        fail(db, job_id)
    else:
        db.execute("select cancel_job(%s)", (job_id,))
    assert generation_status(db, started) == end
    with db.transaction():
        if revive == "redrive":
            db.execute("select redrive_job(%s)", (job_id,))
        else:
            db.execute(
                "update job_queue set status='pending', attempt_number=0, error_message=null"
            )
        assert generation_status(db, started) == "queued"
        with db.transaction(force_rollback=True):
            refused(db, "update image_generations set status = 'pending'")


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_a_job_may_end_after_its_generation(db, started, end):
    """Somebody has cancelled the generation alone; what the job comes to changes it no more."""
    db.execute("update image_generations set status = 'cancelled', error_message = 'by hand'")
    if end == "fail":
        fail(db, started["job_id"])
    else:
        db.execute("select cancel_job(%s, 'too')", (started["job_id"],))
    assert status(db, started["job_id"]) == ("failed" if end == "fail" else "cancelled")
    assert db.execute("select status, error_message from image_generations").fetchone() == {
        "status": "cancelled",
        "error_message": "by hand",
    }


def test_a_completed_generation_is_never_reopened(db):
    db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', 'completed')",
        (USER,),
    )
    assert db.execute(
        "select picture_edge.reopen_generation(id) as it from image_generations"
    ).fetchone() == {"it": False}


# Views


def test_the_views_of_trouble(db, enqueue):
    failed, slow = enqueue(), enqueue(p_priority=-1)
    claim(db)
    fail(db, failed)
    claim(db)
    assert db.execute("select * from stuck_jobs").fetchall() == []
    db.execute("update job_queue set started_at = now() - interval '11 minutes'")
    assert [row["id"] for row in db.execute("select * from stuck_jobs")] == [slow]
    [row] = db.execute("select * from failed_jobs_recent").fetchall()
    assert (row["id"], row["error_message"], row["job_type"]) == (failed, "x", "generate-image")
    db.execute(
        "update job_queue set completed_at = now() - interval '25 hours' where status = 'failed'"
    )
    assert db.execute("select * from failed_jobs_recent").fetchall() == []


def test_queue_health_beyond_the_originals_columns(db, enqueue):
    enqueue(p_scheduled_at="2999-01-01")
    oldest = enqueue()
    db.execute(
        "update job_queue set scheduled_at = now() - interval '90 s' where id = %s", (oldest,)
    )
    failed = enqueue()
    fail(db, failed)
    lost = enqueue(p_priority=9)
    claim(db)
    expire(db, lost)
    row = db.execute("select * from queue_status").fetchone()
    assert (row["pending_jobs"], row["scheduled_jobs"], row["failed_jobs"]) == (2, 1, 1)
    assert (row["processing_jobs"], row["in_flight_jobs"]) == (1, 0)
    assert 90 <= row["oldest_pending_seconds"] < 150
    enqueue(p_scheduled_at="-infinity")
    row = db.execute("select * from queue_status").fetchone()
    assert row["oldest_pending_seconds"] < 150, "one odd job does not hide the queue"


def test_a_users_limits_tell_what_was_used(db, started):
    db.execute(
        "insert into image_generations (user_id, prompt, status, created_at) values"
        " (%s, 'x', 'queued', now() - interval '2 hours'), (%s, 'x', 'queued', now() - interval '2 days')",
        (USER, USER),
    )  # fmt: skip
    db.execute(
        "update image_generations set status = 'failed' where created_at < now() - interval '1 hour'"
    )
    db.execute(
        "insert into image_generations (user_id, prompt) values (%s, 'begun by nobody')", (USER,)
    )
    assert db.execute("select get_user_limits(%s) as it", (USER,)).fetchone()["it"] == {
        "can_generate": True, "daily_limit": None, "daily_used": 2, "hourly_limit": None, "hourly_used": 1,
        "running_limit": None, "running_used": 1,
    }  # fmt: skip


def test_backing_off_counts_as_scheduled(db, enqueue):
    job_id = enqueue()
    claim(db)
    db.execute("select complete_job(%s, p_error => 'x', p_retry_after => '1 hour')", (job_id,))
    assert db.execute("select scheduled_jobs from queue_status").fetchone() == {"scheduled_jobs": 1}
    assert claim(db) is None
    due(db, job_id)
    assert claim(db)["attempt_number"] == 1
