"""The ledger of spend: a row for each prediction that was made, by its day's price, whatever is deleted later."""

from decimal import Decimal
from typing import Any

import pytest

from scripts.schema import apply_schema
from tests.conftest import Database, Row
from tests.sql.help import USER, begin, claim, refused
from tests.sql.test_explain_job import explained

SCHNELL = "black-forest-labs/flux-schnell"
PRICE = Decimal("0.003")


def parked(db: Database, started: Row, given: str = "{}", model: str = SCHNELL) -> tuple[Any, int]:
    """A prediction p1 that runs: its intent's id and its token."""
    job = claim(db)
    begin(db, job, started["generation_id"])
    row = db.execute(
        "select intent_id from picture_edge.intend_prediction(%s, %s, %s, null, %s, 'png', '{}', '1 h')",
        (job["id"], job["lease_token"], model, given),
    ).fetchone()
    assert row
    db.execute(
        "select picture_edge.park_prediction(%s, %s, 'p1')", (row["intent_id"], job["lease_token"])
    )
    return row["intent_id"], job["lease_token"]


def succeed(db: Database, intent: tuple[Any, int]) -> None:
    db.execute(
        "select * from picture_edge.succeed_prediction(%s, %s, '{https://x}', 2.5, null, '1 min')",
        intent,
    )


def ledger(db: Database) -> Any:
    [row] = db.execute("select * from spend").fetchall()
    return row


def test_a_prediction_is_paid_for_from_the_moment_it_is_known(db: Database, started: Row):
    intent = parked(db, started)
    row = ledger(db)
    assert (row["provider"], row["prediction_id"], row["model"]) == ("replicate", "p1", SCHNELL)
    assert (row["source"], str(row["user_id"]), row["job_id"]) == ("queue", USER, started["job_id"])
    assert row["generation_id"] == started["generation_id"]
    assert (row["status"], row["usd"], row["refunded_usd"], row["pictures"]) == (
        "running",
        PRICE,
        0,
        1,
    )
    succeed(db, intent)
    row = ledger(db)
    assert (row["status"], row["seconds"], row["usd"], row["refunded_usd"]) == (
        "succeeded",
        2.5,
        PRICE,
        0,
    )
    assert row["ended_at"]


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_nothing_made_is_refunded(db: Database, started: Row, status):
    intent = parked(db, started)
    fail = "select picture_edge.fail_prediction(%s, %s, %s, 'x', 'filtered', false)"
    db.execute(fail, (*intent, status))
    row = ledger(db)
    assert (row["status"], row["usd"], row["refunded_usd"]) == (status, PRICE, PRICE)
    assert row["seconds"] >= 0


def test_several_pictures_cost_as_many(db: Database, started: Row):
    parked(db, started, '{"num_outputs": 4}')
    assert (ledger(db)["pictures"], ledger(db)["usd"]) == (4, 4 * PRICE)


@pytest.mark.parametrize(
    "given", ['{"num_outputs": "many"}', '{"num_outputs": -1}', '{"num_outputs": 1e9}', "[]"]
)
def test_a_senseless_number_is_one(db: Database, started: Row, given):
    parked(db, started, given)
    assert ledger(db)["pictures"] == 1


def test_an_unknown_price_is_null_and_not_nought(db: Database, started: Row):
    intent = parked(db, started, model="a/b")
    succeed(db, intent)
    assert ledger(db)["usd"] is None
    [row] = db.execute("select * from spend_by_day").fetchall()
    assert (row["usd"], row["unpriced"], row["predictions"]) == (None, 1, 1)
    assert explained(db, started["job_id"], "cost") == ["not known: no price in model_prices"]


def test_a_price_by_time_is_known_at_the_end(db: Database, started: Row):
    db.execute("insert into model_prices values ('a/b', '2026-01-01', null, 0.001)")
    intent = parked(db, started, model="a/b")
    assert ledger(db)["usd"] is None
    succeed(db, intent)
    assert ledger(db)["usd"] == Decimal("0.0025")


def test_a_price_is_that_of_its_day(db: Database):
    db.execute(
        "insert into model_prices (model, valid_from, usd_per_picture)"
        " values ('a/b', '2026-01-01', 1), ('a/b', '2026-03-01', 2), ('a/b', '2999-01-01', 9)"
    )
    query = "select picture_edge.price_of('a/b', %s, 2, null) as it"
    prices = [
        db.execute(query, (day,)).fetchone()
        for day in ("2025-12-31 23:59 UTC", "2026-02-28 23:59 UTC", "2026-03-01 UTC", "2027-01-01")
    ]
    assert [row and row["it"] for row in prices] == [None, 2, 4, 4]


def test_what_is_deleted_leaves_its_cost(db: Database, started: Row):
    succeed(db, parked(db, started))
    db.execute(
        "delete from images; delete from image_generations; delete from job_queue; delete from predictions"
    )
    assert ledger(db)["usd"] == PRICE


def test_an_adopted_prediction_is_paid_for_once(db: Database, started: Row):
    """Its worker has died; the next one takes it over."""
    parked(db, started)
    db.execute("update job_queue set lease_expires_at = now() - interval '1 s'")
    job = claim(db)
    assert begin(db, job, started["generation_id"])["prediction_id"] == "p1"
    assert ledger(db)["status"] == "running"


def test_a_blocking_call_is_a_row_too(db: Database, started: Row, as_role):
    as_role("service_role")
    start = "select picture_edge.begin_spend('p9', %s, 'generate-image', '{}', null, %s)"
    for _ in range(2):
        db.execute(start, (SCHNELL, started["generation_id"]))
    assert (str(ledger(db)["user_id"]), ledger(db)["usd"]) == (USER, PRICE), "the generation's user"
    db.execute("select picture_edge.end_spend('p9', 'succeeded', 3)")
    db.execute("select picture_edge.end_spend('p9', 'failed', 3)")  # written once
    db.execute("select picture_edge.end_spend('unknown', 'failed', 3)")
    assert (ledger(db)["status"], ledger(db)["refunded_usd"]) == ("succeeded", 0)


def test_the_views_add_up(db: Database):
    db.execute(
        "insert into spend (prediction_id, provider, model, source, user_id, pictures, status, usd, refunded_usd)"
        " select n::text, 'replicate', case when n <= 3 then 'a/b' else 'c/d' end, 'queue', %s, 1,"
        " case n when 1 then 'failed' else 'succeeded' end, 0.5, case n when 1 then 0.5 else 0 end"
        " from generate_series(1, 4) as n",
        (USER,),
    )
    models = db.execute(
        "select model, predictions, succeeded, usd, refunded_usd from spend_by_model"
    ).fetchall()
    assert [tuple(row.values()) for row in models] == [
        ("a/b", 3, 2, Decimal("1.0"), Decimal("0.5")),
        ("c/d", 1, 1, Decimal("0.5"), Decimal("0.0")),
    ]
    [user] = db.execute("select * from spend_by_user").fetchall()
    assert (str(user["user_id"]), user["usd"], user["usd_today"]) == (
        USER,
        Decimal("1.5"),
        Decimal("1.5"),
    )
    [day] = db.execute("select * from spend_by_day").fetchall()
    assert (day["usd"], day["predictions"]) == (Decimal("1.5"), 4)


def test_a_job_tells_its_cost(db: Database, started: Row):
    parked(db, started)
    assert explained(db, started["generation_id"], "cost") == ["0.003 USD"]


def test_what_was_paid_for_before_the_ledger_is_counted_once(db: Database, dsn, started: Row):
    intent = parked(db, started)
    db.execute("drop trigger count_prediction on predictions; delete from spend")
    for _ in range(2):
        apply_schema(dsn)
        assert (ledger(db)["prediction_id"], ledger(db)["status"]) == ("p1", "running")
    succeed(db, intent)
    assert ledger(db)["status"] == "succeeded"


def test_no_key_removes_a_row_or_makes_it_another_users(db: Database, as_role, started: Row):
    parked(db, started)
    as_role("service_role")
    for statement in ("delete from spend", "truncate spend", "update spend set user_id = null"):
        refused(db, statement, (), "42501")
