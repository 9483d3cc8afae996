"""JOB_TIMEOUT_MS: a handler that does not end is ended, and what it still says counts no more."""

import asyncio

import psycopg
import pytest

from functions.process_jobs import attempt, jobs
from tests.help import eventually


@pytest.fixture
def endless(monkeypatch):
    """A job type whose handler never ends; what it saw: its jobs, and the moments it was cancelled."""
    seen = {"jobs": [], "cancelled": []}

    async def run(job, resources):
        seen["jobs"].append(job)
        try:
            await asyncio.Event().wait()
        finally:
            seen["cancelled"].append(job.attempt_number)

    monkeypatch.setattr(jobs, "JOBS", {"endless": run})
    monkeypatch.setattr(attempt, "HANDLER_MARGIN_S", 0.0)
    return seen


def test_the_handler_is_cancelled_and_its_job_retried_then_failed(start_edge, db, endless):
    start_edge(JOB_TIMEOUT_MS="100")
    db.execute("select enqueue_job('endless', '{}', p_max_attempts => 2)")

    def failed() -> dict | None:
        db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
        return db.execute("select * from job_queue where status = 'failed'").fetchone()

    row = eventually(failed)
    assert endless["cancelled"] == [1, 2]
    assert [error["class"] for error in row["errors"]] == ["timeout", "timeout"]
    assert row["error_message"] == "Job timed out after 100 ms"


def test_its_late_answer_changes_nothing(start_edge, db, endless):
    start_edge(JOB_TIMEOUT_MS="100")
    db.execute("select enqueue_job('endless', '{}')")

    def retried() -> bool:
        db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
        return len(endless["jobs"]) == 2

    eventually(retried)
    late = endless["jobs"][0]
    with pytest.raises(psycopg.Error, match="no longer held") as refused:
        db.execute(
            "select complete_job(%s, '{\"late\": true}', p_lease_token => %s)",
            (late.id, late.lease_token),
        )
    assert refused.value.sqlstate == "PT409"
    assert db.execute("select result from job_queue").fetchone() == {"result": None}
