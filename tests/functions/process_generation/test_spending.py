"""Blocking calls are in the ledger of spend; one that cannot be written holds up no picture."""

import psycopg

from tests.help import SMALL


def ledger(db):
    return db.execute("select * from spend order by id").fetchall()


def test_generate_image_is_paid_for_by_its_user(edge, db):
    assert edge.post("generate-image", SMALL).status_code == 200
    [row] = ledger(db)
    assert (row["source"], str(row["user_id"]), row["status"]) == (
        "generate-image",
        edge.user_id,
        "succeeded",
    )
    assert (row["model"], float(row["usd"]), row["generation_id"]) == (
        SMALL["model_id"],
        0.003,
        None,
    )
    assert row["seconds"] > 0


def test_process_generation_is_paid_for_by_the_generations_user(edge, db):
    answer = edge.post("start-generation", SMALL)
    generation_id = answer.json()["generation_id"]
    body = {**SMALL, "generation_id": generation_id}
    answer = edge.post("process-generation", body, edge.service_role_key)
    assert answer.status_code == 200, answer.text
    rows = [row for row in ledger(db) if row["source"] == "process-generation"]
    [row] = rows
    assert (row["prediction_id"], str(row["user_id"])) == (
        answer.json()["prediction_id"],
        edge.user_id,
    )
    assert str(row["generation_id"]) == generation_id


def test_a_failed_prediction_is_refunded(edge, db):
    body = {**SMALL, "prompt": "[fault:nsfw] a cat"}
    answer = edge.post("generate-image", body)
    assert answer.status_code == 400, answer.text
    [row] = ledger(db)
    assert (row["status"], float(row["usd"] - row["refunded_usd"])) == ("failed", 0)


def test_a_ledger_that_is_locked_holds_up_no_picture(edge, dsn, db, monkeypatch):
    monkeypatch.setattr("functions.process_generation.spending.LEDGER_S", 0.1)
    with psycopg.connect(dsn) as other:
        other.execute("lock table spend")
        assert edge.post("generate-image", SMALL).status_code == 200
    assert ledger(db) == []
