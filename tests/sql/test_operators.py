"""What operators do to many jobs: redrive, cancel, run the clock; and the log that each of their calls writes."""

from typing import Any

import pytest

from tests.conftest import Database, Row
from tests.sql.help import NOBODY, OTHER, USER, claim, generation_row, job_row, refused


@pytest.fixture
def said(db: Database) -> list[str]:
    """The notices of the session, as psql shows them."""
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    return notices


def logged(db: Database) -> list[tuple[str, Any, int | None]]:
    rows = db.execute("select action, filter, jobs from operator_log order by id")
    return [(row["action"], row["filter"], row["jobs"]) for row in rows]


def fail(db: Database, job_id: object, error: str, error_class: str = "permanent") -> None:
    db.execute("update job_queue set status = 'processing' where id = %s", (job_id,))
    db.execute(
        "select complete_job(%s, p_error => %s, p_retry => false, p_error_class => %s,"
        " p_lease_token => (select lease_token from job_queue where id = %s))",
        (job_id, error, error_class, job_id),
    )


def count(db: Database, call: str) -> int:
    [row] = db.execute(f"select {call} as n".encode())
    return int(row["n"])


@pytest.mark.parametrize(
    ("arguments", "which"),
    [
        ("", {"old", "new", "other"}),
        ("'generate-image'", {"old", "new"}),
        ("null, 1", {"old"}),
        ("p_since => now() - interval '1 h'", {"new", "other"}),
        ("p_until => now() - interval '1 h'", {"old"}),
        ("p_error_like => '%full'", {"new"}),
        ("p_error_like => 'filtered'", {"other"}),
        ("p_error_like => 'filtered', p_job_type => 'generate-image'", set()),
    ],
)
def test_one_kind_of_failure_is_redriven_and_the_others_stay(db, enqueue, said, arguments, which):
    jobs = {
        "old": enqueue(),
        "new": enqueue(),
        "other": enqueue(p_job_type="other"),
        "well": enqueue(),
    }
    fail(db, jobs["old"], "gone")
    db.execute(
        "update job_queue set completed_at = now() - interval '1 day' where status = 'failed'"
    )
    fail(db, jobs["new"], "the disk is full")
    fail(db, jobs["other"], "no", "filtered")
    before = {name: job_row(db, job_id) for name, job_id in jobs.items()}
    dry = f"redrive_failed({arguments}{', ' if arguments else ''}p_dry_run => true)"
    assert count(db, dry) == len(which)
    assert said == [f"{len(which)} failed jobs would run again"]
    assert {name: job_row(db, job_id) for name, job_id in jobs.items()} == before
    assert logged(db) == []
    assert count(db, f"redrive_failed({arguments})") == len(which)
    pending = {name for name, job_id in jobs.items() if job_row(db, job_id)["status"] == "pending"}
    assert pending == which | {"well"}
    [(action, _, jobs_changed)] = logged(db)
    assert (action, jobs_changed) == ("redrive_failed", len(which)), "one line, none for each job"


def test_a_generation_runs_again_from_where_it_failed(db: Database, started: Row, said):
    job = claim(db)
    fail(db, job["id"], "x")
    assert generation_row(db, started["generation_id"])["status"] == "failed"
    call = "select redrive_generation(%s) as done"
    assert db.execute(call, (started["generation_id"],)).fetchone() == {"done": True}
    assert generation_row(db, started["generation_id"])["status"] == "queued"
    assert db.execute(call, (started["generation_id"],)).fetchone() == {"done": False}
    assert said == [f"Job {job['id']} runs again", f"Nothing done: job {job['id']} waits or runs"]
    # The picture was made: only its download is repeated.
    db.execute("update job_queue set status = 'completed'")
    db.execute("update image_generations set status = 'downloading'")
    download = db.execute(
        "select enqueue_job('download-image', jsonb_build_object('generation_id', %s::text), p_created_by => %s) as id",
        (started["generation_id"], USER),
    ).fetchone()
    assert download
    fail(db, download["id"], "x")
    assert db.execute(call, (started["generation_id"],)).fetchone() == {"done": True}
    assert generation_row(db, started["generation_id"])["status"] == "downloading"
    assert job_row(db, download["id"])["status"] == "pending"


def test_a_generation_that_cannot_run_again_says_why(db: Database, started: Row):
    call = "select redrive_generation(%s)"
    refused(db, call, (NOBODY,), "PT404")
    assert "call redrive_job" in refused(db, call, (started["job_id"],), "PT404")
    db.execute("delete from job_queue")
    assert "requested anew" in refused(db, call, (started["generation_id"],), "PT404")
    db.execute("update image_generations set status = 'completed'")
    refused(db, call, (started["generation_id"],), "PT409")


@pytest.mark.parametrize(
    ("arguments", "which"),
    [
        ("'generate-image'", {"mine", "theirs"}),
        ("'*'", {"mine", "theirs", "other"}),
        ("'*', 1", 1),
        ("'*', p_user_id => '" + OTHER + "'", {"theirs"}),
        ("'*', p_statuses => '{processing}'", {"running"}),
        ("'*', p_until => now() - interval '1 h'", {"mine"}),
        ("'generate-image', p_since => now() - interval '1 h'", {"theirs"}),
    ],
)
def test_what_is_named_is_cancelled_and_the_rest_runs(db, enqueue, said, arguments, which):
    running = enqueue()
    claim(db)
    jobs = {
        "running": running,
        "mine": enqueue(p_created_by=USER),
        "theirs": enqueue(p_created_by=OTHER),
        "other": enqueue(p_job_type="other"),
    }
    db.execute(
        "update job_queue set created_at = now() - interval '1 day' where id = %s", (jobs["mine"],)
    )
    number = which if isinstance(which, int) else len(which)
    assert count(db, f"cancel_jobs({arguments}, p_dry_run => true)") == number
    assert count(db, f"cancel_jobs({arguments}, p_reason => 'too many')") == number
    assert said == [f"{number} jobs would be cancelled", f"{number} jobs are cancelled"]
    rows = {name: job_row(db, job_id) for name, job_id in jobs.items()}
    cancelled = {name for name, row in rows.items() if row["status"] == "cancelled"}
    assert (len(cancelled) if isinstance(which, int) else cancelled) == which
    assert {rows[name]["error_message"] for name in cancelled} == {"too many"}
    [(action, given, jobs_changed)] = logged(db)
    assert (action, given["reason"], jobs_changed) == ("cancel_jobs", "too many", number)


@pytest.mark.parametrize("call", ["cancel_jobs(null)", "cancel_jobs(' ')", "cancel_jobs('*', -1)",
                                  "cancel_jobs('*', p_statuses => '{failed}')"])  # fmt: skip
def test_a_senseless_cancel_is_refused(db: Database, call):
    refused(db, f"select {call}", (), "PT400")


def test_a_cancelled_batch_takes_its_generations_along(db: Database, started: Row):
    assert count(db, "cancel_jobs('generate-image')") == 1
    assert generation_row(db, started["generation_id"])["status"] == "cancelled"


def test_a_job_that_another_session_holds_is_left_out(db: Database, connect, enqueue):
    held, free = enqueue(), enqueue()
    other = connect(autocommit=False)
    other.execute("select from job_queue where id = %s for update", (held,))
    assert count(db, "cancel_jobs('*')") == 1
    assert job_row(db, free)["status"] == "cancelled"


def test_a_wrong_type_gets_the_nearest(db: Database, said):
    db.execute("select cancel_jobs('generate_image')")
    assert "No job of type generate_image was ever queued; perhaps generate-image" in said


def test_a_cron_job_runs_now_and_a_wrong_name_gets_the_nearest(db: Database, clock, said):
    db.execute("select cron.schedule('nightly', '0 3 * * *', $$select enqueue_job('a', '{}')$$)")
    said.clear()
    assert db.execute("select run_cron_job_now('Nightly job') as it").fetchone() == {"it": False}
    assert db.execute("select run_cron_job_now(null) as it").fetchone() == {"it": False}
    assert db.execute("select run_cron_job_now('nightly') as it").fetchone() == {"it": True}
    assert said[0] == "No cron job has the name Nightly job; perhaps nightly"
    assert said[-1] == "Cron job nightly has run"
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 1}
    assert logged(db) == [("run_cron_job_now", {"name": "nightly"}, None)]


def test_another_roles_cron_job_is_not_run_with_the_callers_rights(db: Database, clock):
    """Its command might be written for a caller with more rights."""
    db.execute("select cron.schedule('theirs', '0 3 * * *', 'select 1')")
    db.execute("update cron.job set username = 'somebody'")
    refused(db, "select run_cron_job_now('theirs')", (), "PT403")


def test_without_the_clock_there_is_nothing_to_run(db: Database, said):
    assert db.execute("select run_cron_job_now('x') as it").fetchone() == {"it": False}
    assert said == ["pg_cron is absent: there is nothing to run"]


def test_each_call_is_one_line_with_who_and_what(db: Database, enqueue):
    first, second = enqueue(), enqueue()
    db.execute("select pause_queue('generate-image')")
    db.execute("select resume_queue()")
    db.execute("select resume_queue()")  # nothing was paused: nothing was done
    db.execute("select set_provider_limit(60, 3)")
    db.execute("select cancel_job(%s, 'why')", (first,))
    db.execute("select cancel_job(%s, 'why')", (first,))
    db.execute("select redrive_job(%s)", (first,))
    db.execute("select redrive_job(%s)", (second,))  # it waits
    assert logged(db) == [
        ("pause_queue", {"job_type": "generate-image"}, None),
        ("resume_queue", {"job_type": "*"}, None),
        ("set_provider_limit", {"provider": "replicate", "per_minute": 60, "in_flight": 3}, None),
        ("cancel_job", {"id": str(first), "reason": "why"}, 1),
        ("redrive_job", {"id": str(first)}, 1),
    ]
    assert db.execute("select distinct operator from operator_log").fetchall() == [
        {"operator": "postgres"}
    ]


@pytest.mark.parametrize(
    ("settings", "operator"),
    [
        ("set picture_edge.operator = 'ada'", "ada"),
        ("""set request.jwt.claims = '{"role": "service_role"}'""", "service_role"),
        ("""set request.jwt.claims = '{"email": "a@b.c"}'; set application_name = 'picture-edge/5'""", "a@b.c"),
        ("set application_name = 'picture-edge/5'", None),
        ("set application_name = 'picture-edge/5'; set picture_edge.operator = 'ada'", "ada"),
    ],
)  # fmt: skip
def test_who_it_was(db: Database, enqueue, settings, operator):
    """A gateway calls cancel_job for a user, who is no operator."""
    job_id = enqueue()
    db.execute(settings)
    db.execute("select cancel_job(%s)", (job_id,))
    rows = db.execute("select operator from operator_log").fetchall()
    assert [row["operator"] for row in rows] == ([operator] if operator else [])


def test_what_is_rolled_back_is_not_in_the_log(connect, db: Database):
    other = connect(autocommit=False)
    other.execute("select pause_queue()")
    other.rollback()
    assert logged(db) == []


def test_no_key_removes_a_line(db: Database, as_role):
    db.execute("select pause_queue()")
    as_role("service_role")
    db.execute("select pause_queue('a')")
    assert len(logged(db)) == 2
    for statement in (
        "delete from operator_log",
        "update operator_log set jobs = 0",
        "truncate operator_log",
    ):
        refused(db, statement, (), "42501")


def test_a_role_that_may_cancel_still_may(db: Database, dsn, enqueue):
    """Granted by name before there was a log."""
    from scripts.schema import apply_schema

    db.execute("create role canceller bypassrls")
    try:
        db.execute(
            "grant usage on schema picture_edge to canceller;"
            "grant select, update on job_queue, predictions, image_generations to canceller;"
            "grant execute on function cancel_job(uuid, text), picture_edge.held_job(uuid, bigint, text[]) to canceller"
        )
        apply_schema(dsn)
        job_id = enqueue(p_job_type="mail")
        db.execute("set role canceller")
        db.execute("select cancel_job(%s)", (job_id,))
        db.execute("reset role")
        assert [action for action, *_ in logged(db)] == ["cancel_job"]
    finally:
        db.execute("reset role; drop owned by canceller; drop role canceller")
