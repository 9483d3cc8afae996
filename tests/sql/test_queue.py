"""The queue's promises, on real connections: sql/22_enqueue_job.sql, 24_claim_jobs.sql, 27_complete_job.sql."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.sql.help import LEASE_LOST, USER, claim, due, expire, job_row, until_blocked


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        pytest.param({"p_priority": 0}, {"p_priority": 9}, "second", id="higher priority wins"),
        pytest.param({}, {}, "first", id="then the older"),
        pytest.param({"p_scheduled_at": "2999-01-01"}, {}, "second", id="not before its time"),
    ],
)
def test_order(db, enqueue, first, second, winner):
    ids = {"first": enqueue(**first), "second": enqueue(**second)}
    assert claim(db)["id"] == ids[winner]


def test_a_job_alone_in_the_queue_waits_for_its_time_too(db, enqueue):
    job_id = enqueue(p_scheduled_at="2999-01-01")
    assert claim(db) is None
    due(db, job_id)
    assert claim(db)["id"] == job_id


@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_behind_a_due_one_waits_for_its_time_too(db, rank):
    db.execute(
        "insert into job_queue (job_type, scheduled_at, share_rank)"
        " values ('x', now(), %(rank)s), ('x', now() + interval '1 h', %(rank)s)",
        {"rank": rank},
    )
    assert len(db.execute("select * from claim_jobs(5)").fetchall()) == 1


def test_a_claim_has_the_originals_columns_first_and_counts_the_attempt(db, enqueue):
    job_id = enqueue(p_payload='{"a": 1}', p_max_attempts=5)
    claimed = claim(db)
    assert list(claimed)[:5] == ["id", "job_type", "payload", "attempt_number", "max_attempts"]
    assert list(claimed.values())[:5] == [job_id, "generate-image", {"a": 1}, 1, 5]
    assert job_row(db, job_id)["status"] == "processing"
    assert claim(db) is None


def test_the_field_variant_is_called_by_position(db):
    job_id = db.execute("select enqueue_job('generate-image', '{}', 7, now(), 4) as id").fetchone()[
        "id"
    ]
    assert (job_row(db, job_id)["priority"], job_row(db, job_id)["max_attempts"]) == (7, 4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param({"p_job_type": " "}, "p_job_type", id="blank type"),
        pytest.param({"p_job_type": None}, "p_job_type", id="no type"),
        pytest.param({"p_payload": "[]"}, "p_payload", id="payload not an object"),
        pytest.param({"p_payload": None}, "p_payload", id="no payload"),
        pytest.param({"p_max_attempts": 0}, "p_max_attempts", id="no attempts"),
    ],
)
def test_enqueue_names_what_is_wrong(enqueue, arguments, text):
    with pytest.raises(psycopg.Error, match=text):
        enqueue(**arguments)


def test_enqueue_is_part_of_the_callers_transaction(connect, enqueue):
    ours = connect(autocommit=False)
    ours.execute("select enqueue_job('generate-image', '{}')")
    assert claim(connect()) is None
    ours.rollback()
    assert claim(connect()) is None


@pytest.mark.parametrize("user", [None, USER])
def test_two_open_transactions_never_share_a_job(connect, enqueue, user):
    enqueue(p_created_by=user)
    ours, theirs = connect(autocommit=False), connect(autocommit=False)
    assert claim(ours) is not None
    assert claim(theirs) is None


@pytest.mark.parametrize("user", [None, USER])
def test_concurrent_workers_take_each_job_once(db, connect, enqueue, user):
    ids = {enqueue(p_created_by=user) for _ in range(200)}

    def work(connection):
        taken = []
        while rows := connection.execute("select id from claim_jobs(7)").fetchall():
            taken += [row["id"] for row in rows]
        return taken

    with ThreadPoolExecutor(8) as threads:
        taken = [
            job_id for part in threads.map(work, [connect() for _ in range(8)]) for job_id in part
        ]
    assert len(taken) == 200
    assert set(taken) == ids


def test_a_completed_job_keeps_its_result(db, enqueue):
    job_id = enqueue()
    claimed = claim(db)
    db.execute(
        "select complete_job(%s, '{\"url\": 1}', p_lease_token => %s)",
        (job_id, claimed["lease_token"]),
    )
    row = job_row(db, job_id)
    assert (row["status"], row["result"], row["error_message"]) == ("completed", {"url": 1}, None)
    assert row["completed_at"] is not None


def test_complete_as_the_original_was_called(db, enqueue):
    job_id = enqueue()
    claim(db)
    db.execute("select complete_job(%s, '{}'::jsonb, null)", (job_id,))
    assert job_row(db, job_id)["status"] == "completed"


def test_an_unknown_job_raises(db):
    with pytest.raises(psycopg.Error, match="not found"):
        db.execute("select complete_job('11111111-1111-4111-8111-111111111111')")


def test_an_error_waits_and_is_retried_until_the_attempts_are_spent(db, enqueue):
    job_id = enqueue(p_max_attempts=2)
    db.execute("select complete_job(%s, p_error => 'first')", (claim(db)["id"],))
    row = job_row(db, job_id)
    assert (row["status"], row["error_message"], row["attempt_number"]) == ("pending", "first", 1)
    due(db, job_id)
    db.execute("select complete_job(%s, p_error => 'second')", (claim(db)["id"],))
    row = job_row(db, job_id)
    assert (row["status"], row["error_message"]) == ("failed", "second")
    assert [(error["attempt"], error["text"]) for error in row["errors"]] == [
        (1, "first"),
        (2, "second"),
    ]


def test_backoff_grows_with_jitter_and_has_a_cap(db, enqueue):
    delays: dict[int, list[float]] = {1: [], 4: [], 30: []}
    for attempt in delays:
        for _ in range(40):
            job_id = enqueue(p_max_attempts=99)
            claim(db)
            db.execute("update job_queue set attempt_number = %s where id = %s", (attempt, job_id))
            db.execute("select complete_job(%s, p_error => 'x')", (job_id,))
            row = db.execute(
                "select extract(epoch from scheduled_at - updated_at) as s from job_queue where id = %s",
                (job_id,),
            ).fetchone()
            delays[attempt].append(float(row["s"]))
            db.execute("delete from job_queue")
    assert max(delays[1]) <= 2.1
    assert 2 < max(delays[4]) <= 16.1
    assert 100 < max(delays[30]) <= 300.1
    assert len({round(delay, 3) for delay in delays[30]}) > 30


def test_a_workers_error_takes_an_earlier_ones_details_away(db, enqueue):
    job_id = enqueue()
    db.execute(
        "select complete_job(%s, p_error_message => 'x', p_error_details => '{}')",
        (claim(db)["id"],),
    )
    assert job_row(db, job_id)["error_details"] == {}
    due(db, job_id)
    token = claim(db)["lease_token"]
    db.execute("select complete_jobs(%s, %s, p_errors => '{y}')", ([job_id], [token]))
    assert (job_row(db, job_id)["error_message"], job_row(db, job_id)["error_details"]) == (
        "y",
        None,
    )


def test_a_permanent_error_fails_at_once(db, enqueue):
    job_id = enqueue()
    db.execute(
        "select complete_job(%s, p_error => 'refused', p_retry => false)", (claim(db)["id"],)
    )
    assert job_row(db, job_id)["status"] == "failed"


def test_the_providers_own_delay_costs_no_attempt(db, enqueue):
    job_id = enqueue(p_max_attempts=1)
    db.execute(
        "select complete_job(%s, p_error => 'busy', p_retry_after => '40 s')", (claim(db)["id"],)
    )
    row = db.execute(
        "select status, attempt_number, scheduled_at - updated_at > interval '39 s' as waits from job_queue"
    ).fetchone()
    assert row == {"status": "pending", "attempt_number": 0, "waits": True}
    due(db, job_id)
    assert claim(db)["attempt_number"] == 1


def test_a_dead_workers_job_is_claimed_again_under_a_higher_token(db, enqueue):
    job_id = enqueue()
    first = claim(db)
    expire(db, job_id)
    second = claim(db)
    assert (second["id"], second["attempt_number"]) == (job_id, 1), "a death costs no attempt"
    assert second["lease_token"] > first["lease_token"]
    assert job_row(db, job_id)["errors"][0]["text"] == "The worker stopped answering"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "select complete_job(%(id)s, '{}', p_lease_token => %(token)s)", id="complete"
        ),
        pytest.param(
            "select complete_job(%(id)s, p_error => 'x', p_lease_token => %(token)s)", id="fail"
        ),
        pytest.param(
            "select picture_edge.begin_generate_image(%(id)s, %(token)s, gen_random_uuid(), '1 h')",
            id="begin",
        ),
        pytest.param(
            "select picture_edge.intend_prediction(%(id)s, %(token)s, 'a/b', null, '{}', 'png', '{}', '1 h')",
            id="intend",
        ),
        pytest.param(
            "select picture_edge.finish_download_image(%(id)s, %(token)s, '{}')",
            id="finish download",
        ),
    ],
)
def test_a_worker_that_lost_its_lease_changes_nothing_and_is_told(db, enqueue, statement):
    job_id = enqueue()
    stale = claim(db)["lease_token"]
    expire(db, job_id)
    claim(db)
    before = job_row(db, job_id)
    with pytest.raises(psycopg.Error) as refused:
        db.execute(statement, {"id": job_id, "token": stale})
    assert refused.value.sqlstate == LEASE_LOST
    assert job_row(db, job_id) == before


def test_a_reset_by_hand_takes_the_job_from_its_worker(db, enqueue):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    db.execute("update job_queue set status = 'pending', attempt_number = 0, error_message = null")
    with pytest.raises(psycopg.Error) as refused:
        db.execute("select picture_edge.finish_download_image(%s, %s, '{}')", (job_id, token))
    assert refused.value.sqlstate == LEASE_LOST
    with pytest.raises(psycopg.Error) as refused:
        db.execute("select complete_job(%s, '{}', p_lease_token => %s)", (job_id, token))
    assert refused.value.sqlstate == LEASE_LOST
    assert job_row(db, job_id)["status"] == "pending"
    assert claim(db)["lease_token"] > token


def test_repeating_an_end_whose_answer_was_lost_changes_nothing(db, enqueue):
    for end in ("p_result => '{\"a\": 1}'", "p_error => 'x'", "p_error => 'x', p_retry => false"):
        job_id = enqueue()
        token = claim(db)["lease_token"]
        call = f"select complete_job(%s, {end}, p_lease_token => %s)"
        db.execute(call, (job_id, token))
        before = job_row(db, job_id)
        db.execute(call, (job_id, token))
        assert job_row(db, job_id) == before
        db.execute("delete from job_queue")


@pytest.mark.parametrize(
    "ends", [("p_error => 'x'", "p_result => '{}'"), ("null", "p_error => 'x'")]
)
def test_an_attempt_ends_one_way_only(db, enqueue, ends):
    """A handler that comes to an end after its time was up is told that nobody heard it."""
    job_id = enqueue()
    db.execute("select complete_job(%s, p_error => 'an attempt before')", (claim(db)["id"],))
    due(db, job_id)
    token = claim(db)["lease_token"]
    first, second = (f"select complete_job(%s, {end}, p_lease_token => %s)" for end in ends)
    db.execute(first, (job_id, token))
    before = job_row(db, job_id)
    with pytest.raises(psycopg.Error) as refused:
        db.execute(second, (job_id, token))
    assert refused.value.sqlstate == LEASE_LOST
    assert job_row(db, job_id) == before


def after_a_person(db, connect, job_id, statement, arguments):
    """What a worker's statement, which waits while a person completes the job, comes to."""
    person, worker = connect(autocommit=False), connect()
    person.execute('select complete_job(%s, \'{"by": "hand"}\')', (job_id,))
    with ThreadPoolExecutor(1) as thread:
        told = thread.submit(worker.execute, statement, arguments)
        until_blocked(db, told)
        person.commit()
    row = job_row(db, job_id)
    assert (row["status"], row["result"], row["errors"]) == ("completed", {"by": "hand"}, [])
    assert row["lease_expires_at"] is None
    return told


@pytest.mark.parametrize(
    "statement",
    [
        "select complete_jobs(%s, %s)",
        "select complete_jobs(%s, %s, p_errors => '{x}')",
        "select picture_edge.extend_leases(%s, %s, '1 hour')",
    ],
)
def test_a_batch_that_waited_for_a_person_is_told(db, connect, enqueue, statement):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    told = after_a_person(db, connect, job_id, statement, ([job_id], [token]))
    assert told.result().fetchall() == []


@pytest.mark.parametrize(
    "statement",
    ["select picture_edge.extend_lease(%s, %s, '10 s')", "select picture_edge.release_job(%s, %s)"],
)
def test_a_write_that_waited_for_a_person_is_refused(db, connect, enqueue, statement):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    told = after_a_person(db, connect, job_id, statement, (job_id, token))
    with pytest.raises(psycopg.Error) as refused:
        told.result()
    assert refused.value.sqlstate == LEASE_LOST


def test_a_lease_that_is_being_extended_is_not_taken(db, connect, enqueue):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    expire(db, job_id)
    worker = connect(autocommit=False)
    worker.execute("select picture_edge.extend_lease(%s, %s, '10 s')", (job_id, token))
    assert connect().execute("select picture_edge.requeue_expired() as n").fetchone() == {"n": 0}
    worker.commit()
    assert job_row(db, job_id)["status"] == "processing"


def test_extending_keeps_what_is_held_and_names_what_is_not(db, enqueue):
    held, lost = enqueue(), enqueue()
    tokens = {
        row["id"]: row["lease_token"]
        for row in db.execute("select id, lease_token from claim_jobs(2)")
    }
    expire(db, lost)
    claim(db)
    rows = db.execute(
        "select picture_edge.extend_leases(%s, %s, '1 hour') as id",
        ([held, lost], [tokens[held], tokens[lost]]),
    ).fetchall()
    assert [row["id"] for row in rows] == [held]
    left = db.execute(
        "select id from job_queue where lease_expires_at > now() + interval '30 minutes'"
    ).fetchall()
    assert [row["id"] for row in left] == [held]


@pytest.mark.parametrize(
    "arguments",
    ["'{}', '{1}', '10 s'", "null, null, '10 s'", "'{}', '{}', '0 s'", "'{}', '{}', null"],
)
def test_a_senseless_renewal_is_refused(db, arguments):
    with pytest.raises(psycopg.Error, match="must") as refused:
        db.execute(f"select picture_edge.extend_leases({arguments})")
    assert refused.value.sqlstate == "PT400"


def test_an_interrupted_job_goes_back_uncounted(db, enqueue):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    with pytest.raises(psycopg.Error) as refused:
        db.execute("select picture_edge.release_job(%s, %s)", (job_id, token - 1))
    assert refused.value.sqlstate == LEASE_LOST
    assert job_row(db, job_id)["status"] == "processing"
    db.execute("select picture_edge.release_job(%s, %s)", (job_id, token))
    assert job_row(db, job_id)["status"] == "pending"
    assert claim(db)["attempt_number"] == 1


def test_the_operators_manual_statements_work(db, enqueue):
    enqueue()
    claim(db)
    db.execute("update job_queue set updated_at = now() - interval '20 minutes'")
    db.execute(
        "UPDATE job_queue SET status='pending', attempt_number=0"
        " WHERE status='processing' AND updated_at < now() - interval '15 minutes'"
    )
    assert db.execute("SELECT status, COUNT(*) FROM job_queue GROUP BY status").fetchall() == [
        {"status": "pending", "count": 1}
    ]
    db.execute("SELECT error_message FROM job_queue WHERE status='failed'")
    db.execute(
        "SELECT status, COUNT(*) FROM image_generations WHERE created_at > now() - interval '1 hour' GROUP BY status"
    )
    db.execute("UPDATE job_queue SET status = 'cancelled'")
    db.execute(
        "DELETE FROM job_queue WHERE status='completed' AND completed_at < now() - interval '7 days'"
    )


def test_queue_health_counts(db, enqueue):
    for _ in range(5):
        enqueue()
    done, failed = claim(db), claim(db)
    claim(db)
    db.execute("select complete_job(%s, '{}')", (done["id"],))
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (failed["id"],))
    row = db.execute("select * from queue_health").fetchone()
    assert list(row)[:5] == [
        "pending_jobs",
        "processing_jobs",
        "completed_last_hour",
        "failed_last_hour",
        "avg_processing_time_seconds",
    ]
    assert list(row.values())[:4] == [2, 1, 1, 1]
    assert row["avg_processing_time_seconds"] >= 0
