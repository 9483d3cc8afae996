"""Idempotency-Key: a repeated request, concurrent or later, gets the first one's generation."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.conftest import Edge
from tests.help import BODY


def start(edge: Edge, key: str = "k", **change):
    return edge.post("start-generation", {**BODY, **change}, headers={"Idempotency-Key": key})


def count(db) -> int:
    return int(db.execute("select count(*) as n from job_queue").fetchone()["n"])


def test_the_same_again_gets_the_same_ids(idle_edge: Edge, db):
    first = start(idle_edge)
    assert first.status_code == 200
    assert start(idle_edge).json() == first.json()
    reordered = dict(reversed(BODY.items()))
    again = idle_edge.post("start-generation", reordered, headers={"Idempotency-Key": "k"})
    assert again.json() == first.json()
    assert count(db) == 1
    assert start(idle_edge, "other").json()["job_id"] != first.json()["job_id"]


def test_an_array_gets_the_same_ids_in_their_order(idle_edge: Edge, db):
    first = start(idle_edge, prompt=["a", "b", "c"]).json()
    assert start(idle_edge, prompt=["a", "b", "c"]).json() == first
    assert count(db) == 3


def test_another_body_is_422_and_starts_nothing(idle_edge: Edge, db):
    start(idle_edge)
    answer = start(idle_edge, prompt="a dog")
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert count(db) == 1


def test_keys_are_each_users_own(idle_edge: Edge, db):
    start(idle_edge)
    idle_edge.user_id = str(uuid4())
    assert start(idle_edge, prompt="a dog").status_code == 200
    assert count(db) == 2


def test_many_at_once_are_one(idle_edge: Edge, db):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: start(idle_edge), range(32)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["generation_id"] for answer in answers}) == 1
    assert count(db) == 1


def test_what_was_refused_may_be_mended_under_the_same_key(idle_edge: Edge, db):
    assert start(idle_edge, prompt=" ").status_code == 400
    db.execute("select set_user_quota(null, 0)")
    assert start(idle_edge).status_code == 429
    db.execute("select set_user_quota()")
    assert start(idle_edge).status_code == 200


@pytest.mark.parametrize("forget", ["time", "purge"])
def test_a_key_is_forgotten_after_a_day(idle_edge: Edge, db, forget):
    first = start(idle_edge).json()
    db.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    if forget == "purge":
        db.execute("select purge_jobs()")
        assert db.execute("select count(*) as n from idempotency_keys").fetchone() == {"n": 0}
    assert start(idle_edge, prompt="a dog").json()["generation_id"] != first["generation_id"]
    assert count(db) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_a_key_that_cannot_be_kept_is_400(idle_edge: Edge, db, key):
    answer = start(idle_edge, key.encode())
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["error"]
    assert count(db) == 0
