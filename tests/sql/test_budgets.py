"""Budgets: what is spent is refused before anything is paid; nothing is summed where there is none."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conftest import Database
from tests.help import BODY, eventually
from tests.sql.help import NOBODY, OTHER, USER, begin, claim, refused
from tests.sql.test_explain_job import explained
from tests.sql.test_queue_history import buffers
from tests.sql.test_spend import parked

SCHNELL = {"prompt": "a fox", "model_id": "black-forest-labs/flux-schnell"}
"""A picture of it costs 0.003 USD."""

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


def many(db: Database, number: int, user: str = USER, **request: object) -> None:
    requests = [Jsonb({**SCHNELL, **request})] * number
    db.execute("select picture_edge.start_generations(%s::uuid[], %s)", ([user] * number, requests))


@pytest.mark.parametrize(("scope", "state"), [("all", "PT402"), ("user", "PT429")])
def test_what_waits_and_what_is_asked_for_counts(db: Database, scope, state):
    """0.01 USD has room for three pictures, however they are asked for."""
    db.execute("select set_budget(0.01, p_scope => %s)", (scope,))
    with pytest.raises(psycopg.Error) as error:
        many(db, 4)
    assert error.value.sqlstate == state
    many(db, 1, num_outputs=2)
    many(db, 1)
    with pytest.raises(psycopg.Error):
        many(db, 1)
    db.execute("select * from claim_jobs(1)")  # still before its prediction
    with pytest.raises(psycopg.Error):
        many(db, 1)
    db.execute("select cancel_jobs('*', p_statuses => '{pending, processing}')")
    many(db, 3)


@pytest.mark.parametrize("scope", ["all", "user"])
@pytest.mark.parametrize(
    "change",
    [
        "scheduled_at = now() + interval '1 day', share_rank = 0",
        "scheduled_at = now() + interval '1 min', share_rank = 0, attempt_number = 1",
        "share_rank = -1, crash_count = 2",
    ],
    ids=["scheduled", "a retry", "a suspect"],
)
def test_what_waits_without_a_turn_counts_too(db: Database, scope, change):
    """Only users' due jobs have a turn, and these are none or none any more."""
    db.execute("select set_budget(0.01, p_scope => %s)", (scope,))
    many(db, 3)
    db.execute(f"update job_queue set {change}".encode())
    refusal(db)
    db.execute("select cancel_jobs('*', p_statuses => '{pending}')")
    start(db)


@pytest.mark.parametrize("scope", ["all", "user"])
def test_a_parked_jobs_prediction_counts_once(db: Database, scope):
    """In the ledger; 0.013 USD has room for it and three that wait."""
    db.execute("select set_budget(0.013, p_scope => %s)", (scope,))
    many(db, 1)
    parked(db, db.execute("select id as generation_id from image_generations").fetchone())
    many(db, 3)
    with pytest.raises(psycopg.Error):
        many(db, 1)


def test_a_users_wait_is_read_from_their_newest_jobs(db: Database):
    """It touches no page of the jobs of others, and of their own no more than the newest 5,000."""
    waiting = """
    insert into job_queue (job_type, payload, created_by, share_rank, status, completed_at)
    select 'generate-image', '{"model_id": "black-forest-labs/flux-schnell"}', %s::uuid, 1, %s::text,
        case %s::text when 'completed' then now() end
    from generate_series(1, %s)
    """
    db.execute(waiting, (USER, "completed", "completed", 6000))
    many(db, 3)
    awaited = f"select picture_edge.awaited_usd('{USER}') as usd"
    before = buffers(db, awaited)
    db.execute(waiting, (OTHER, "pending", "pending", 20000))
    assert db.execute(awaited).fetchone() == {"usd": Decimal("0.009")}
    assert buffers(db, awaited) <= before + 20
    assert before < 7000


@pytest.mark.parametrize("scope", ["all", "user"])
def test_sixty_four_starts_at_once_do_not_exceed_a_budget(db: Database, dsn, scope):
    db.execute("select set_budget(0.03, p_scope => %s)", (scope,))

    def attempt(_: int) -> str | None:
        with psycopg.connect(dsn, autocommit=True) as session:
            while True:
                try:
                    many(session, 1)  # type: ignore[arg-type]
                except psycopg.errors.LockNotAvailable:
                    continue  # a busy machine: 503 to a client, which tries again
                except psycopg.Error as error:
                    return error.sqlstate
                return None

    with ThreadPoolExecutor(64) as sessions:
        refusals = list(sessions.map(attempt, range(64)))
    assert refusals.count(None) == 10
    assert set(refusals) == {None, "PT402" if scope == "all" else "PT429"}


@pytest.mark.parametrize("scope", ["all", "user"])
def test_two_starts_never_both_see_the_last_room(db: Database, dsn, scope):
    db.execute("select set_budget(0.003, p_scope => %s)", (scope,))
    blocked = "select count(*) > 0 as it from pg_locks where locktype = 'advisory' and not granted"

    def second() -> str | None:
        with psycopg.connect(dsn, autocommit=True) as session:
            try:
                many(session, 1)  # type: ignore[arg-type]
            except psycopg.Error as error:
                return error.sqlstate
        return None

    with ThreadPoolExecutor(1) as thread, psycopg.connect(dsn) as first:
        many(first, 1)  # type: ignore[arg-type]
        other = thread.submit(second)
        eventually(lambda: other.done() or db.execute(blocked).fetchone() == {"it": True})
        first.commit()
        assert other.result() == ("PT402" if scope == "all" else "PT429")


def test_a_job_pays_nothing_once_the_budget_is_spent(db: Database, paid):
    """It waited since before the budget was set, or was queued by hand."""
    many(db, 1)
    job = claim(db)
    begin(db, job, job["payload"]["generation_id"])
    db.execute("select set_budget(0.5)")
    paid(0.5)
    intend: Any = (
        "select from picture_edge.intend_prediction(%s, %s, 'a/b', null, '{}', 'png', '{}', '1 h')"
    )
    arguments = (job["id"], job["lease_token"])
    refused(db, intend, arguments, "PT402")
    assert db.execute("select count(*) as n from predictions").fetchone() == {"n": 0}
    db.execute("select release_job from picture_edge.release_job(%s, %s)", arguments)
    assert "budget: 0.5 USD a day are spent by all. No prediction is made before" in " ".join(
        explained(db, job["id"], "waits")
    )
    db.execute("select set_budget(1)")
    assert not any(text.startswith("budget") for text in explained(db, job["id"], "waits"))


@pytest.mark.parametrize(
    ("request_", "usd"),
    [
        ({"model_id": "black-forest-labs/flux-schnell"}, "0.003"),
        ({"model_id": "flux-schnell", "num_outputs": 4}, "0.012"),
        ({"model_id": "flux-schnell", "num_outputs": 1e9}, "0.048"),
        ({"model_id": "flux-schnell", "num_outputs": -1}, "0.003"),
        ({"model_id": "flux-schnell", "num_outputs": "4"}, "0.003"),
        ({"model_id": "timed/one"}, "0.01"),
        ({"model_id": "un/known"}, "0"),
        ({}, "0"),
    ],
)
def test_what_a_request_will_cost(db: Database, request_, usd):
    db.execute(
        "insert into models (replicate_id, name, typical_seconds) values ('timed/one', 'x', 10)"
    )
    db.execute("insert into model_prices values ('timed/one', '2026-01-01', null, 0.001)")
    [row] = db.execute("select picture_edge.expected_usd(%s) as it", ([Jsonb(request_)],))
    assert row["it"] == Decimal(usd)


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
