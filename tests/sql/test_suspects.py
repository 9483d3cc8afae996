"""A job that two workers have died with: it runs alone, and only a death then is proof (sql/25_suspects.sql)."""

import psycopg
import pytest

from tests.sql.help import USER, claim, claimed, due, expire, job_row, refused


def reserve(db, kinds=None):
    return db.execute(
        "select * from picture_edge.claim_suspect('w', '10 s', %s)", (kinds,)
    ).fetchone()


def begin_alone(db, row):
    db.execute("select picture_edge.begin_alone(%s, %s, '10 s')", (row["id"], row["lease_token"]))


def die(db, job_id):
    expire(db, job_id)
    db.execute("select picture_edge.requeue_expired()")


def suspect(db, enqueue, **arguments):
    """A job that two workers have died with."""
    job_id = enqueue(**arguments)
    for _ in range(2):
        assert job_id in claimed(db)
        die(db, job_id)
    return job_id


@pytest.mark.parametrize("user", [None, USER])
def test_after_two_deaths_it_is_left_to_claim_suspect(db, enqueue, user):
    job_id = suspect(db, enqueue, p_created_by=user)
    other = enqueue(p_created_by=user)
    assert claimed(db) == [other]
    row = reserve(db)
    assert (row["id"], row["attempt_number"], row["job_type"]) == (job_id, 1, "generate-image")
    assert reserve(db) is None
    kept = job_row(db, job_id)
    assert (kept["status"], kept["worker_id"], kept["lease_token"]) == (
        "processing",
        "w",
        row["lease_token"],
    )


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_death_costs_no_attempt(db, enqueue, attempts):
    """Nor a job that dies twice of its neighbour: it completes in the end, with its one attempt."""
    job_id = suspect(db, enqueue, p_max_attempts=attempts)
    row = job_row(db, job_id)
    assert (row["status"], row["attempt_number"], row["crash_count"]) == ("pending", 0, 2)
    assert [error["text"] for error in row["errors"]] == ["The worker stopped answering"] * 2
    taken = reserve(db)
    begin_alone(db, taken)
    db.execute("select complete_job(%s, p_lease_token => %s)", (job_id, taken["lease_token"]))
    assert job_row(db, job_id)["status"] == "completed"


def test_it_is_poisonous_if_its_worker_dies_while_it_runs_alone(db, enqueue):
    job_id = suspect(db, enqueue, p_max_attempts=99)
    begin_alone(db, reserve(db))
    die(db, job_id)
    row = job_row(db, job_id)
    assert (row["status"], row["crash_count"], row["attempt_number"]) == ("failed", 3, 1)
    assert row["error_message"] == (
        "Poisonous: three of its workers stopped answering, the last one while it ran alone"
    )
    assert [error["class"] for error in row["errors"]] == ["crash"] * 3
    assert row["completed_at"] is not None


def test_a_death_while_it_waits_to_be_alone_proves_nothing(db, enqueue):
    job_id = suspect(db, enqueue)
    for deaths in (3, 4):
        assert reserve(db)["id"] == job_id
        die(db, job_id)
        row = job_row(db, job_id)
        assert (row["status"], row["crash_count"], row["attempt_number"]) == ("pending", deaths, 0)
    assert claimed(db) == []


def test_only_its_holder_begins_it(db, enqueue):
    job_id = suspect(db, enqueue)
    row = reserve(db)
    for token in (row["lease_token"] + 1, row["lease_token"] - 1):
        refused(db, "select picture_edge.begin_alone(%s, %s, '10 s')", (job_id, token))
    for arguments in ((job_id, None, "10 s"), (job_id, row["lease_token"], "0 s")):
        refused(db, "select picture_edge.begin_alone(%s, %s, %s)", arguments, sqlstate="PT400")
    refused(db, "select picture_edge.claim_suspect('w', p_lease => '0 s')", sqlstate="PT400")
    db.execute("select cancel_job(%s)", (job_id,))
    refused(db, "select picture_edge.begin_alone(%s, %s, '10 s')", (job_id, row["lease_token"]))


@pytest.mark.parametrize(
    "end",
    [
        "select complete_job(%s, p_error => 'x', p_lease_token => %s)",
        "select complete_job(%s, p_error => 'x', p_retry_after => '1 s', p_lease_token => %s)",
        "select picture_edge.release_job(%s, %s)",
    ],
)
def test_one_that_is_tried_again_runs_alone_again(db, enqueue, end):
    """And its next worker's death, before it is alone, proves nothing either."""
    job_id = suspect(db, enqueue)
    row = reserve(db)
    begin_alone(db, row)
    db.execute(end, (job_id, row["lease_token"]))
    due(db, job_id)
    assert claimed(db) == []
    assert reserve(db)["id"] == job_id
    die(db, job_id)
    assert job_row(db, job_id)["status"] == "pending"


def test_a_parked_suspect_that_nobody_looked_after_returns_uncounted(db, enqueue):
    job_id = suspect(db, enqueue)
    row = reserve(db)
    begin_alone(db, row)
    db.execute("update job_queue set parked = true where id = %s", (job_id,))
    die(db, job_id)
    kept = job_row(db, job_id)
    assert (kept["status"], kept["crash_count"], kept["attempt_number"]) == ("pending", 2, 0)
    assert reserve(db)["id"] == job_id
    die(db, job_id)
    assert job_row(db, job_id)["status"] == "pending"


def test_a_suspect_waits_for_its_time_its_type_and_its_queue(db, enqueue):
    job_id = suspect(db, enqueue)
    assert reserve(db, ["other"]) is None
    db.execute("select pause_queue('generate-image')")
    assert reserve(db) is None
    db.execute("select resume_queue(), pause_queue('*')")
    assert reserve(db) is None
    db.execute("select resume_queue()")
    db.execute("update job_queue set scheduled_at = now() + interval '1 hour'")
    assert reserve(db) is None
    due(db, job_id)
    assert reserve(db, ["generate-image"])["id"] == job_id


def test_the_longest_waiting_comes_first_and_a_paused_one_hides_none(db, enqueue):
    first, paused, last = (
        suspect(db, enqueue, p_job_type=kind) for kind in ("other", "paused", "other")
    )
    for place, job_id in enumerate((paused, first, last)):
        db.execute(
            "update job_queue set scheduled_at = now() - interval '1 h' + %s * interval '1 s' where id = %s",
            (place, job_id),
        )
    db.execute("select pause_queue('paused')")
    assert [reserve(db)["id"] for _ in range(2)] == [first, last]


def test_what_the_provider_does_not_take_now_waits_and_others_go_on(db, enqueue):
    ours = suspect(db, enqueue)
    other = suspect(db, enqueue, p_job_type="other")
    db.execute("select picture_edge.limit_provider('1 h')")
    assert reserve(db)["id"] == other
    assert reserve(db) is None
    db.execute("update provider_limits set not_before = now()")
    db.execute("select set_provider_limit(p_per_minute => 1)")
    assert reserve(db)["id"] == ours
    assert db.execute("select tokens < 1 as spent from provider_limits").fetchone() == {
        "spent": True
    }


def test_two_open_transactions_never_share_a_suspect(db, connect, enqueue):
    suspect(db, enqueue)
    theirs = connect(autocommit=False)
    assert reserve(theirs) is not None
    assert reserve(db) is None
    theirs.rollback()
    assert reserve(db) is not None


def test_by_hand_a_suspect_comes_last_and_is_alone(db, enqueue):
    job_id = suspect(db, enqueue)
    other = enqueue()
    assert claim(db)["id"] == other
    assert claim(db)["id"] == job_id
    assert claim(db) is None
    die(db, job_id)
    assert job_row(db, job_id)["error_message"].startswith("Poisonous")


def test_a_reset_gives_a_poisonous_job_one_attempt_alone_and_redrive_forgets(db, enqueue):
    job_id = suspect(db, enqueue)
    begin_alone(db, reserve(db))
    die(db, job_id)
    db.execute("update job_queue set status = 'pending', attempt_number = 0, error_message = null")
    assert claimed(db) == []
    begin_alone(db, reserve(db))
    die(db, job_id)
    assert (job_row(db, job_id)["status"], job_row(db, job_id)["crash_count"]) == ("failed", 4)
    db.execute("select redrive_job(%s)", (job_id,))
    assert (job_row(db, job_id)["crash_count"], job_row(db, job_id)["share_rank"]) == (0, 0)
    assert claimed(db) == [job_id]


def test_a_claim_does_not_look_at_suspects(db):
    """A hundred thousand of them at the head of the lane cost it nothing."""
    db.execute(
        "insert into job_queue (job_type, crash_count, share_rank) select 'bench', 2, -1"
        " from generate_series(1, 100000)"
    )
    db.execute("insert into job_queue (job_type) select 'bench' from generate_series(1, 100)")
    for statement in (
        "select * from claim_jobs(1)",
        "select * from picture_edge.claim_suspect('w', '10 s')",
    ):
        for _ in range(8):
            db.execute(statement)
        [plan] = db.execute(f"explain (analyze, buffers, format json) {statement}").fetchall()
        [tree] = plan["QUERY PLAN"]
        assert tree["Plan"]["Shared Hit Blocks"] + tree["Plan"]["Shared Read Blocks"] < 1500, (
            statement
        )


def test_an_unknown_job_is_none(db):
    with pytest.raises(psycopg.Error, match="not found"):
        db.execute("select picture_edge.begin_alone(gen_random_uuid(), 1, '10 s')")
