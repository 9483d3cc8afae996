"""Budgets at the front door: refused with a text and a status, before anything is paid."""

import pytest

from tests.help import SMALL, eventually

SPENT = """
insert into spend (prediction_id, provider, model, source, user_id, pictures, usd)
values ('p', 'replicate', 'a/b', 'queue', %s, 1, 5)
"""


@pytest.mark.parametrize("function", ["start-generation", "generate-image"])
def test_a_spent_budget_is_402_for_all_and_429_for_a_user(edge, db, sandbox, function):
    db.execute(SPENT, (edge.user_id,))
    db.execute("select set_budget(1, p_scope => 'user')")
    answer = edge.post(function, SMALL)
    assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert answer.json()["error"] == "You may spend 1 USD a day"
    assert int(answer.headers["Retry-After"]) >= 1
    db.execute("select set_budget(1)")
    answer = edge.post(function, SMALL)
    assert (answer.status_code, answer.json()["code"]) == (402, "BUDGET_SPENT")
    assert not sandbox.state.predictions


def test_a_job_waits_while_its_budget_is_spent(edge, db, sandbox):
    """The provider is not asked, no attempt is spent, and once there is money the picture is made."""
    db.execute("select pause_queue()")
    started = edge.post("start-generation", SMALL).json()
    db.execute("select set_budget(0)")
    db.execute("select resume_queue()")
    job = eventually(
        lambda: db.execute(
            "select * from job_queue where jsonb_array_length(errors) > 0 and id = %s",
            (started["job_id"],),
        ).fetchone()
    )
    assert (job["status"], job["attempt_number"], job["errors"][0]["class"]) == (
        "pending",
        0,
        "out_of_budget",
    )
    assert job["error_message"].startswith("The budget of this day is spent.")
    assert not sandbox.state.predictions
    db.execute("select set_budget()")
    db.execute("update job_queue set scheduled_at = now()")
    eventually(
        lambda: db.execute(
            "select true as it from image_generations where id = %s and status = 'completed'",
            (started["generation_id"],),
        ).fetchone()
    )
