"""Budgets: what is spent is refused before anything is paid; nothing is summed where there is none."""

import json

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conftest import Database
from tests.help import BODY
from tests.sql.help import NOBODY, OTHER, USER, refused

PAID = """
insert into spend (at, prediction_id, provider, model, source, user_id, pictures, status, usd, refunded_usd)
values (date_trunc(%(since)s, now(), 'UTC') + %(later)s::interval, gen_random_uuid()::text, 'replicate', 'a/b', 'queue',
    %(user)s, 1, 'succeeded', %(usd)s, %(refunded)s)
"""


@pytest.fixture
def paid(db: Database):
    """Pay for a prediction, some time after the begin of this UTC day (or month)."""

    def pay(
        usd: float, *, user: str = USER, since: str = "day", later: str = "0", refunded: float = 0
    ) -> None:
        db.execute(
            PAID, {"usd": usd, "user": user, "since": since, "later": later, "refunded": refunded}
        )

    return pay


def start(db: Database, user: str = USER) -> None:
    db.execute("select * from picture_edge.start_generation(%s, %s)", (user, Jsonb(BODY)))


def refusal(db: Database, user: str = USER) -> psycopg.Error:
    before = db.execute("select count(*) as n from image_generations").fetchone()
    with pytest.raises(psycopg.Error) as error:
        start(db, user)
    assert db.execute("select count(*) as n from image_generations").fetchone() == before
    return error.value


def test_a_users_budget_ends_their_day_and_nobody_elses(db: Database, paid):
    db.execute("select set_budget(p_daily_usd => 1, p_scope => 'user')")
    paid(0.9)
    start(db)
    paid(0.1)
    error = refusal(db)
    assert (error.sqlstate, error.diag.message_primary) == ("PT429", "You may spend 1 USD a day")
    detail = json.loads(error.diag.message_detail or "")
    assert detail["quota"] == 1
    assert 1 <= detail["retry_after"] <= 86400
    start(db, OTHER)


def test_a_budget_of_their_own_comes_before_that_of_each(db: Database, paid):
    db.execute("select set_budget(p_daily_usd => 1, p_scope => 'user')")
    db.execute("select set_budget(p_daily_usd => 5, p_scope => %s)", (USER,))
    paid(2)
    paid(2, user=OTHER)
    start(db)
    assert refusal(db, OTHER).sqlstate == "PT429"


def test_the_budget_of_all_ends_everybodys(db: Database, paid):
    db.execute("select set_budget(1)")
    paid(0.6)
    paid(0.6, user=OTHER)
    error = refusal(db, NOBODY)
    assert error.sqlstate == "PT402"
    assert str(error.diag.message_primary).startswith(
        "The budget of this day is spent. No picture is made until 2"
    )
    assert refused(db, "select picture_edge.spend_quota(%s)", (NOBODY,), "PT402"), (
        "generate-image too"
    )


def test_refunds_and_former_days_and_months_do_not_count(db: Database, paid):
    db.execute("select set_budget(1, 1)")
    paid(5, refunded=5)
    paid(5, since="month", later="-1 s")
    start(db)
    db.execute("select set_budget(null, 1)")
    paid(5, since="month")
    assert refusal(db).sqlstate == "PT402"


def test_a_budget_that_is_taken_away_or_without_amounts_ends_nothing(db: Database, paid):
    paid(5)
    db.execute("select set_budget(1)")
    db.execute("select set_budget()")
    start(db)
    db.execute("select set_budget(0)")
    assert refusal(db).sqlstate == "PT402"


def test_hours_that_are_over_are_added_up_once_and_late_refunds_taken_off(db: Database):
    db.execute(
        "insert into spend (at, prediction_id, provider, model, source, pictures, usd)"
        " select now() - n * interval '30 min', n::text, 'replicate', 'a/b', 'queue', 1, 1"
        " from generate_series(0, 99) as n"
    )
    spent = "select picture_edge.spent(date_trunc('hour', now() - interval '60 h', 'UTC')) as it"
    assert db.execute(spent).fetchone() == {"it": 100}
    for _ in range(2):
        db.execute("select picture_edge.keep_spend_hours()")
        assert db.execute(spent).fetchone() == {"it": 100}
    db.execute("select picture_edge.end_spend('99', 'failed', 1)")
    db.execute("select picture_edge.end_spend('98', 'succeeded', 1)")
    db.execute("select picture_edge.end_spend('0', 'failed', 1)")
    assert db.execute(spent).fetchone() == {"it": 98}
    [row] = db.execute(
        "select count(*) as hours, max(hour) < now() - interval '2 h' as over from spend_hours"
    ).fetchall()
    assert (row["hours"] > 45, row["over"]) == (True, True)


@pytest.mark.parametrize("call", ["set_budget(-1)", "set_budget(1, -1)", "set_budget(1, p_scope => 'me')",
                                  "set_budget(1, p_scope => null)"])  # fmt: skip
def test_a_senseless_budget_is_refused(db: Database, call):
    refused(db, f"select {call}", (), "PT400")


def test_it_says_what_it_did_and_logs_it(db: Database):
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    db.execute("select set_budget(50, 1000)")
    db.execute("select set_budget(2, p_scope => 'user')")
    assert notices == [
        "All together: USD a day 50, a month 1000",
        "Each user without a budget of their own: USD a day 2, a month any amount",
    ]
    assert db.execute("select count(*) as n from operator_log").fetchone() == {"n": 2}
