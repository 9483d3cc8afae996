"""pause_cron_job, resume_cron_job: beside pg_cron's stand-in, and without it."""

import pytest

from tests.conftest import Database
from tests.sql.help import refused


def test_a_cron_job_is_paused_and_resumed_once_each_with_a_line(db: Database, clock):
    db.execute("select cron.schedule('nightly', '0 3 * * *', 'select 1')")
    calls = ["pause_cron_job", "pause_cron_job", "resume_cron_job", "resume_cron_job"]
    done = [db.execute(f"select {call}('nightly') as it".encode()).fetchone() for call in calls]
    assert [row and row["it"] for row in done] == [True, False, True, False]
    assert db.execute("select active, schedule from cron.job").fetchone() == {
        "active": True,
        "schedule": "0 3 * * *",
    }
    rows = db.execute(
        "select action, filter from operator_log where action <> 'schedule_process_jobs' order by id"
    ).fetchall()
    assert rows == [
        {"action": call, "filter": {"name": "nightly"}}
        for call in ("pause_cron_job", "resume_cron_job")
    ]


@pytest.mark.parametrize("name", ["Nightly job", None])
def test_a_name_that_nothing_has_gets_the_nearest(db: Database, clock, name):
    said: list[str] = []
    db.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    db.execute("select cron.schedule('nightly', '0 3 * * *', 'select 1')")
    assert db.execute("select pause_cron_job(%s) as it", (name,)).fetchone() == {"it": False}
    assert said == [
        f"No cron job has the name {'Nightly job; perhaps nightly' if name else 'null'}"
    ]


def test_a_role_that_may_not_change_cron_jobs_is_told_what_to_grant(db: Database, clock):
    db.execute("select cron.schedule('theirs', '0 3 * * *', 'select 1')")
    db.execute("update cron.job set username = 'service_role'")
    db.execute("grant usage on schema cron to service_role")
    db.execute("revoke execute on all functions in schema cron from public, service_role")
    db.execute("set role service_role")
    assert "grant execute on function cron.alter_job" in refused(
        db, "select pause_cron_job('theirs')", (), "PT403"
    )
