"""start_generations, cancel_generation, report_progress: what a user does with generations, and is told of them."""

import psycopg
import pytest

from tests.sql.help import OTHER, USER, begin, claim, generation_row, start_all


def report(db, generation_id, stage, progress):
    db.execute(
        "select picture_edge.report_progress(%s, %s, %s)", ([generation_id], [stage], [progress])
    )
    row = generation_row(db, generation_id)
    return row["stage"], row["progress"]


def test_several_start_together_and_are_answered_in_their_order(db):
    ids = start_all(db, "one", "two")
    rows = [generation_row(db, row["generation_id"]) for row in ids]
    assert [row["prompt"] for row in rows] == ["one", "two"]
    assert [str(row["user_id"]) for row in rows] == [USER, OTHER]
    jobs = [
        db.execute("select payload from job_queue where id = %s", (row["job_id"],)).fetchone()
        for row in ids
    ]
    assert [job["payload"]["prompt"] for job in jobs] == ["one", "two"]


def test_several_start_all_or_none(db):
    with pytest.raises(psycopg.Error):
        start_all(db, "one", None)
    assert db.execute("select count(*) as n from image_generations").fetchone() == {"n": 0}
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 0}


def test_a_cancelled_generation_takes_its_job_along_and_may_be_cancelled_again(db, started):
    for _ in range(2):
        db.execute("select cancel_generation(%s, %s)", (started["generation_id"], USER))
    assert generation_row(db, started["generation_id"])["status"] == "cancelled"
    assert db.execute("select status from job_queue").fetchone() == {"status": "cancelled"}


def test_nobody_elses_generation_is_cancelled(db, started):
    with pytest.raises(psycopg.Error, match="not found") as refused:
        db.execute("select cancel_generation(%s, %s)", (started["generation_id"], OTHER))
    assert refused.value.sqlstate == "PT404"
    assert generation_row(db, started["generation_id"])["status"] == "queued"


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_what_has_ended_is_not_cancelled(db, started, status):
    db.execute("update image_generations set status = %s", (status,))
    with pytest.raises(psycopg.Error, match=f"is {status} already") as refused:
        db.execute("select cancel_generation(%s)", (started["generation_id"],))
    assert refused.value.sqlstate == "PT409"
    assert generation_row(db, started["generation_id"])["status"] == status


def test_progress_waits_for_nobody(db, connect):
    """complete_jobs locks generations in the order of their jobs: 15 deadlocks in twelve seconds of hard load."""
    first, second = (row["generation_id"] for row in start_all(db, "one", "two"))
    db.execute("update image_generations set status = 'processing'")
    other = connect(autocommit=False)
    other.execute("update image_generations set error_message = null where id = %s", (second,))
    db.execute(
        "select picture_edge.report_progress(%s, '{drawing, drawing}', '{10, 10}')",
        ([first, second],),
    )
    other.rollback()
    told = [generation_row(db, one)["progress"] for one in (first, second)]
    assert told == [10, 0]
    assert report(db, second, "drawing", 20) == ("drawing", 20)


def test_progress_only_grows_and_only_while_it_is_made(db, started):
    assert report(db, started["generation_id"], "drawing", 10) == ("queued", 0)
    job = claim(db)
    begin(db, job, started["generation_id"])
    assert report(db, started["generation_id"], "starting", 0) == ("starting", 0)
    assert report(db, started["generation_id"], "drawing", 40) == ("drawing", 40)
    assert report(db, started["generation_id"], "starting", 20) == ("starting", 40), (
        "a bar that begins again"
    )
    db.execute("select cancel_generation(%s)", (started["generation_id"],))
    assert report(db, started["generation_id"], "drawing", 80) == ("cancelled", 40)


def test_two_open_transactions_do_not_share_the_last_free_place(db, connect):
    db.execute("select set_user_quota(p_hourly => 1)")
    db.execute("alter function picture_edge.start_generations set lock_timeout = '300 ms'")
    other = connect(autocommit=False)
    start_all(other, "one", users=[USER])
    with pytest.raises(psycopg.errors.LockNotAvailable):
        start_all(db, "two", users=[USER])
    start_all(db, "three", users=[OTHER])
    other.commit()
    with pytest.raises(psycopg.Error, match="You may have 1 generation an hour"):
        start_all(db, "two", users=[USER])
