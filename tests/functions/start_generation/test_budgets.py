"""Budgets at the front door: refused with a text and a status, before anything is paid."""

import pytest

from tests.help import SMALL

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
