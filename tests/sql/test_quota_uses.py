"""quota_uses, the ledger: what is a use, how long it runs, and that nothing gives it back."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.help import OTHER, USER, start_all, until_blocked

FULL = "PT429"


def used(db, name="hourly", user=USER, beside=None):
    row = db.execute(
        "select used from picture_edge.quota_use(%s, %s) where name = %s", (user, beside, name)
    ).fetchone()
    return row["used"]


def spend(db, generation_id=None, source="sql", user=USER):
    return db.execute(
        "select picture_edge.spend_quota(%s, %s, %s) as it", (user, generation_id, source)
    ).fetchone()["it"]


def insert(db, status="queued"):
    return db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', %s) returning id",
        (USER, status),
    ).fetchone()["id"]


def move(db, *statuses):
    for status in statuses:
        db.execute("update image_generations set status = %s", (status,))


def ago(db, interval):
    db.execute("update quota_uses set created_at = created_at - %s::interval", (interval,))


@pytest.mark.parametrize("quota", ["p_running", "p_hourly", "p_daily"])
def test_spend_quota_refuses_what_has_no_room(db, quota):
    db.execute(f"select set_user_quota({quota} => 2)")
    spend(db)
    insert(db)
    with pytest.raises(psycopg.Error, match="You may have 2 generations") as refused:
        spend(db)
    assert refused.value.sqlstate == FULL
    assert used(db) == 2
    spend(db, user=OTHER)


def test_two_that_spend_at_once_do_not_share_the_last_place(db, connect):
    db.execute("select set_user_quota(p_hourly => 1)")
    db.execute("alter function picture_edge.spend_quota set lock_timeout = '300 ms'")
    other = connect(autocommit=False)
    spend(other)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        spend(db)
    other.rollback()
    spend(db)


def test_each_generation_that_is_begun_is_one_use(db):
    start_all(db, "one", "two", users=[USER, USER])
    move(db, "processing", "downloading", "completed")
    assert used(db) == 2
    generation_id = insert(db, "pending")
    insert(db, "completed")  # of a restore
    assert (used(db), used(db, "running")) == (2, 0), "begun by nobody"
    db.execute("update image_generations set status = 'queued' where id = %s", (generation_id,))
    assert (used(db), used(db, "running")) == (3, 1)


def test_what_spend_quota_has_counted_counts_no_second_time(db):
    waiting = insert(db, "pending")
    spend(db, waiting)
    move(db, "processing")
    generation_id = db.execute("select gen_random_uuid() as it").fetchone()["it"]
    spend(db, generation_id)
    db.execute(
        "insert into image_generations (id, user_id, prompt, status) values (%s, %s, 'x', 'queued')",
        (generation_id, USER),
    )
    assert (used(db), used(db, "running")) == (2, 2)
    assert used(db, beside=waiting) == 1


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_a_use_runs_until_its_generation_ends_and_stays_counted(db, end):
    insert(db)
    assert used(db, "running") == 1
    move(db, end)
    assert (used(db, "running"), used(db), used(db, "daily")) == (0, 1, 1)


def test_a_use_without_a_generation_runs_until_it_is_ended(db):
    use, other = spend(db), spend(db)
    db.execute("select picture_edge.end_quota_use(%s, %s)", (OTHER, use))
    assert used(db, "running") == 2, "not theirs"
    db.execute("select picture_edge.end_quota_use(%s, %s)", (USER, use))
    db.execute("select picture_edge.end_quota_use(%s, %s)", (USER, use))
    assert (used(db, "running"), used(db)) == (1, 2)
    assert other > use


@pytest.mark.parametrize("recorded", [True, False])
def test_a_call_whose_process_has_died_stops_counting_as_running(db, recorded):
    """It is never ended: no call takes as long as a quarter of an hour."""
    spend(db, insert(db, "pending") if recorded else None, "generate-image")
    move(db, "processing")
    ago(db, "14 minutes")
    assert used(db, "running") == 1
    ago(db, "2 minutes")
    assert (used(db, "running"), used(db)) == (0, 1)


def test_what_waits_in_the_queue_runs_however_long(db):
    insert(db)
    ago(db, "3 days")
    assert (used(db, "running"), used(db, "daily")) == (1, 0)


def test_a_reopened_generation_runs_again_and_is_no_further_use(db):
    row = start_all(db, "one", users=[USER])[0]
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (row["job_id"],))
    assert used(db, "running") == 0
    db.execute("select redrive_job(%s)", (row["job_id"],))
    assert (used(db, "running"), used(db)) == (1, 1)


def test_of_a_generation_paid_for_twice_one_runs(db):
    generation_id = insert(db, "pending")
    spend(db, generation_id)
    move(db, "processing", "failed")
    spend(db, generation_id)
    db.execute("select picture_edge.reopen_generation(%s, 'pending')", (generation_id,))
    move(db, "processing")
    assert (used(db, "running"), used(db)) == (1, 2)


DELETE = "delete from image_generations"


@pytest.mark.parametrize("status", ["queued", "processing", "completed"])
@pytest.mark.parametrize("by", ["the service role", "a user, whom a policy of the app's lets"])
def test_deleting_gives_no_quota_back(db, as_role, by, status):
    insert(db)
    if status != "queued":
        move(db, status)
    if by == "the service role":
        as_role("service_role")
    else:
        db.execute("grant delete on image_generations to authenticated")
        db.execute(
            "create policy tidy on image_generations for delete using (user_id = (select auth.uid()))"
        )
        as_role("authenticated", USER)
    assert db.execute(DELETE).rowcount == 1
    db.execute("reset role")
    assert (used(db), used(db, "daily")) == (1, 1)
    assert used(db, "running") == (status != "completed")
    ago(db, "16 minutes")
    assert used(db, "running") == 0, "and it does not run for ever either"


@pytest.mark.parametrize(
    "statement",
    [
        "delete from quota_uses",
        "truncate quota_uses",
        "update quota_uses set created_at = '2000-01-01'",
        "update quota_uses set user_id = gen_random_uuid()",
    ],
)
@pytest.mark.parametrize("role", ["service_role", "authenticated", "anon"])
def test_nobody_takes_a_use_back(db, as_role, role, statement):
    as_role(role, USER)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement)


def test_the_service_role_writes_the_ledger(db, as_role):
    as_role("service_role")
    start_all(db, "one", users=[USER])
    db.execute("select picture_edge.end_quota_use(%s, %s)", (USER, spend(db)))
    move(db, "failed")
    assert (used(db), used(db, "running")) == (2, 0)


def test_two_batches_of_the_same_users_do_not_wait_for_each_other(db, connect):
    """One that takes their locks in its own order holds the one that the other wants: deadlock detected."""
    db.execute("select set_user_quota(p_hourly => 10)")
    first, second = connect(autocommit=False), connect()
    start_all(first, "a", users=[USER])
    with ThreadPoolExecutor(1) as threads:
        batch = threads.submit(start_all, second, "b", "c", users=[OTHER, USER])
        until_blocked(db, batch)
        start_all(first, "d", users=[OTHER])
        first.commit()
        batch.result()
    assert (used(db), used(db, user=OTHER)) == (2, 2)


def test_a_window_is_counted_by_the_key_of_its_user(db):
    """However much others have asked for, and the user before: the primary key bounds the scan."""
    db.execute(
        "insert into quota_uses (user_id, source, created_at, ended_at)"
        " select gen_random_uuid(), 'x', now() - n * interval '1 s', now() from generate_series(1, 20000) as n"
    )
    db.execute("analyze quota_uses")
    [row] = db.execute(
        "explain (format json) select count(*) from quota_uses"
        " where user_id = %s and created_at > statement_timestamp() - interval '24 hours'",
        (USER,),
    ).fetchall()
    scan = row["QUERY PLAN"][0]["Plan"]["Plans"][0]
    assert scan["Index Name"] == "quota_uses_pkey"
    assert "created_at" in scan["Index Cond"]


def test_a_request_with_a_key_is_one_use_however_often_it_comes(db):
    body = Jsonb({"prompt": "a cat", "model_id": "x/y"})
    for _ in range(3):
        db.execute(
            "select picture_edge.start_generations_once(%s, 'k', 'h', %s)", (USER, [body, body])
        )
    assert used(db) == 2


@pytest.mark.parametrize(
    ("quotas", "text", "after"),
    [
        ("p_hourly => 3, p_daily => 4", "You may have 3 generations an hour", 2400),
        ("p_hourly => 4, p_daily => 3", "You may have 3 generations a day", 85200),
        ("p_running => 2", "You may have 2 generations at a time", None),
        ("p_hourly => 0", "You may have 0 generations an hour", None),
    ],
)
def test_a_batch_beyond_a_quota_is_refused_as_its_first_one_beyond(db, quotas, text, after):
    """In words and time as if they were started one by one; one that just fits is let through."""
    start_all(db, "before", users=(USER,))
    ago(db, "20 minutes")
    db.execute(f"select set_user_quota('{USER}', {quotas})")
    with pytest.raises(psycopg.Error, match=text) as refused:
        start_all(db, *"12345", users=(OTHER, USER, USER, USER, USER))
    assert refused.value.sqlstate == FULL
    told = json.loads(refused.value.diag.message_detail)["retry_after"]
    assert told is None if after is None else told in range(after - 10, after + 1)
    assert (used(db), used(db, user=OTHER)) == (1, 0)


def test_a_batch_that_just_fits_is_counted_once(db):
    db.execute("select set_user_quota(p_hourly => 2)")
    start_all(db, *"1234", users=(OTHER, USER, OTHER, USER))
    assert (used(db), used(db, user=OTHER)) == (2, 2)
