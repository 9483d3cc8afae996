"""Quotas: generations at a time, per hour and per day, on every route and under concurrency."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import Edge, running_edge, user_token
from tests.help import BODY, SMALL, eventually


def limit(db, user_id=None, **quotas) -> None:
    quotas = {"p_running": None, "p_hourly": None, "p_daily": None, **quotas}
    db.execute(
        "select set_user_quota(%(user)s, %(p_running)s, %(p_hourly)s, %(p_daily)s)",
        {"user": user_id, **quotas},
    )


def limits(db, edge: Edge) -> dict:
    row = db.execute("select get_user_limits(%s::uuid) as it", (edge.user_id,)).fetchone()
    return row["it"]


@pytest.mark.parametrize(
    ("quota", "word", "wait"),
    [
        ({"p_running": 2}, "You may have 2 generations at a time", range(5, 6)),
        ({"p_hourly": 2}, "You may have 2 generations an hour", range(3500, 3601)),
        ({"p_daily": 2}, "You may have 2 generations a day", range(86300, 86401)),
    ],
)
def test_what_there_is_no_room_for_is_429_and_says_when(idle_edge: Edge, db, quota, word, wait):
    limit(db, **quota)
    for _ in range(2):
        assert limits(db, idle_edge)["can_generate"] is True
        assert idle_edge.post("start-generation", BODY).status_code == 200
    answer = idle_edge.post("start-generation", BODY)
    assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert answer.json()["error"] == word
    assert int(answer.headers["retry-after"]) in wait
    assert answer.headers["ratelimit-limit"] == "2"
    assert answer.headers["ratelimit-remaining"] == "0"
    assert answer.headers["ratelimit-reset"] == answer.headers["retry-after"]
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 2}
    told = limits(db, idle_edge)
    name = next(iter(quota)).removeprefix("p_")
    assert told["can_generate"] is False
    assert (told[f"{name}_limit"], told[f"{name}_used"]) == (2, 2)
    idle_edge.user_id = str(uuid4())
    assert idle_edge.post("start-generation", BODY).status_code == 200, "another user"


def test_room_comes_back_with_time_and_with_ends(idle_edge: Edge, db):
    limit(db, p_running=1, p_hourly=2)
    assert idle_edge.post("start-generation", BODY).status_code == 200
    assert idle_edge.post("start-generation", BODY).status_code == 429
    db.execute("update image_generations set status = 'completed'")
    assert idle_edge.post("start-generation", BODY).status_code == 200
    db.execute("update image_generations set status = 'completed' where status = 'queued'")
    assert idle_edge.post("start-generation", BODY).status_code == 429
    db.execute("update quota_uses set created_at = created_at - interval '61 minutes'")
    assert idle_edge.post("start-generation", BODY).status_code == 200


def test_a_user_may_have_a_quota_of_their_own(idle_edge: Edge, db):
    limit(db, p_daily=0)
    assert idle_edge.post("start-generation", BODY).status_code == 429
    limit(db, idle_edge.user_id)
    assert idle_edge.post("start-generation", BODY).status_code == 200
    limit(db, idle_edge.user_id, p_daily=1)
    assert idle_edge.post("start-generation", BODY).status_code == 429


def test_an_array_beyond_the_quota_starts_none(idle_edge: Edge, db):
    limit(db, p_hourly=2)
    answer = idle_edge.post("start-generation", {**BODY, "prompt": ["a", "b", "c"]})
    assert answer.status_code == 429
    assert db.execute("select count(*) as n from image_generations").fetchone() == {"n": 0}


def test_many_at_once_get_no_more_than_the_quota(edge: Edge, db):
    limit(db, p_hourly=5)
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda _: edge.post("start-generation", BODY).status_code, range(32)))
    assert sorted(codes) == [200] * 5 + [429] * 27


def test_a_neighbour_in_the_same_round_trip_is_not_refused(idle_edge: Edge, db):
    limit(db, idle_edge.user_id, p_daily=0)

    def ask(number: int) -> int:
        token = idle_edge.user_token() if number % 2 else user_token()
        return int(idle_edge.post("start-generation", BODY, token).status_code)

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(ask, range(24)))
    assert codes == [200, 429] * 12


def own_row(db, edge: Edge) -> str:
    row = db.execute(
        "insert into image_generations (user_id, prompt) values (%s, 'x') returning id::text as it", (edge.user_id,)
    ).fetchone()  # fmt: skip
    return str(row["it"])


def uses(db, edge: Edge) -> tuple[int, int]:
    """Of the hour, and running."""
    told = limits(db, edge)
    return told["hourly_used"], told["running_used"]


@pytest.mark.parametrize("recorded", [True, False])
def test_generate_image_shares_the_quota(edge: Edge, db, recorded):
    limit(db, p_daily=2)
    body = {**BODY, "generation_id": own_row(db, edge)} if recorded else BODY
    assert edge.post("generate-image", body).status_code == 200
    assert edge.post("start-generation", BODY).status_code == 200
    assert edge.post("start-generation", BODY).status_code == 429
    answer = edge.post("generate-image", BODY)
    assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert answer.json()["error"] == "You may have 2 generations a day"
    answer = edge.post("generate-image", {**BODY, "generation_id": own_row(db, edge)})
    assert answer.status_code == 429


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("quota", ["p_running", "p_hourly", "p_daily"])
def test_generate_image_pays_for_no_more_than_the_quota(
    edge: Edge, db, sandbox, slow, quota, recorded
):
    """Fourteen of fourteen were paid for without a row. At once, and with a quota of 1 to run, one after another."""
    limit(db, **{quota: 1})

    def ask(_: int) -> int:
        body = {**BODY, "generation_id": own_row(connection, edge)} if recorded else BODY
        return int(edge.post("generate-image", body).status_code)

    with (
        psycopg.connect(
            db.info.dsn, password="postgres", autocommit=True, row_factory=dict_row
        ) as connection,
        ThreadPoolExecutor(8) as clients,
    ):
        first = clients.submit(ask, 0)
        eventually(lambda: sandbox.state.predictions)
        assert list(clients.map(ask, range(6))) == [429] * 6
        assert uses(db, edge) == (1, 1)
        slow()
        assert first.result() == 200
        assert uses(db, edge) == (1, 0)
        codes = list(clients.map(ask, range(3)))
    if quota == "p_running":
        assert 200 in codes, "there is room again at its end"
    else:
        assert codes == [429] * 3
    assert len(sandbox.state.predictions) == 1 + codes.count(200)


def test_many_calls_at_once_get_no_more_than_the_quota(edge: Edge, db, sandbox):
    limit(db, p_hourly=3)
    with ThreadPoolExecutor(16) as clients:
        codes = list(
            clients.map(lambda _: edge.post("generate-image", BODY).status_code, range(16))
        )
    assert sorted(codes) == [200] * 3 + [429] * 13
    assert len(sandbox.state.predictions) == 3


@pytest.mark.parametrize("recorded", [True, False])
def test_a_call_that_fails_runs_no_longer_and_is_counted(edge: Edge, db, recorded):
    body = {**BODY, "model_id": "no/such"}
    if recorded:
        body["generation_id"] = own_row(db, edge)
    assert edge.post("generate-image", body).status_code == 400
    assert uses(db, edge) == (1, 0)


def test_a_stop_ends_the_use_of_a_call(environ, db, sandbox, slow, monkeypatch):
    monkeypatch.setattr("scripts.stack.GRACE_S", 0.1)
    with ThreadPoolExecutor(1) as client, running_edge(**environ) as edge:
        waiting = client.submit(edge.post, "generate-image", BODY)
        eventually(lambda: sandbox.state.predictions)
        assert uses(db, edge) == (1, 1)
    assert waiting.exception() or waiting.result().status_code == 500
    assert uses(db, edge) == (1, 0)


def test_a_retry_that_pays_again_is_a_use_and_one_that_adopts_is_none(edge: Edge, db, sandbox):
    generation_id = own_row(db, edge)
    body = {**BODY, "generation_id": generation_id}
    assert uses(db, edge) == (0, 0), "a row that waits has been begun by nobody"
    assert edge.post("generate-image", {**body, "model_id": "no/such"}).status_code == 400
    assert edge.post("generate-image", body).status_code == 200
    assert uses(db, edge) == (2, 0)
    paid = next(iter(sandbox.state.predictions))
    other = own_row(db, edge)
    db.execute(
        "update image_generations set status = 'failed', replicate_prediction_id = %s where id = %s", (paid, other)
    )  # fmt: skip
    limit(db, p_hourly=1)
    assert edge.post("generate-image", {**BODY, "generation_id": other}).status_code == 200
    assert len(sandbox.state.predictions) == 1


def test_a_call_that_is_refused_leaves_its_row_as_it_was(edge: Edge, db):
    limit(db, p_daily=0)
    body = {**BODY, "generation_id": own_row(db, edge)}
    assert edge.post("generate-image", body).status_code == 429
    assert db.execute("select status from image_generations").fetchone() == {"status": "pending"}
    limit(db, p_daily=1)
    assert edge.post("generate-image", body).status_code == 200
    assert edge.post("generate-image", body).status_code == 409, "what it is, before how many"


def test_deleting_a_picture_gives_no_quota_back(idle_edge: Edge, db):
    limit(db, p_daily=1)
    assert idle_edge.post("start-generation", BODY).status_code == 200
    db.execute("delete from image_generations")
    assert idle_edge.post("start-generation", BODY).status_code == 429


def test_each_prompt_of_an_array_and_each_key_counts_once(idle_edge: Edge, db):
    limit(db, p_hourly=3)
    several = {**BODY, "prompt": ["a", "b"]}
    for _ in range(2):
        answer = idle_edge.post("start-generation", several, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
    assert uses(db, idle_edge) == (2, 2)
    assert idle_edge.post("start-generation", several).status_code == 429
    assert uses(db, idle_edge) == (2, 2)


def test_settings_are_everybodys_quota(start_edge, db):
    edge = start_edge(QUOTA_HOURLY="1")
    eventually(lambda: limits(db, edge)["hourly_limit"] == 1)
    assert edge.post("start-generation", BODY).status_code == 200
    assert edge.post("start-generation", BODY).status_code == 429


@pytest.mark.parametrize("known", [True, False])
def test_a_quota_that_older_sql_cannot_count_is_not_open(edge: Edge, db, known):
    """generate-image without a row is let through only where there are no quotas at all."""
    db.execute("drop function picture_edge.spend_quota(uuid, uuid, text)")
    if not known:
        db.execute("alter table user_quotas rename to gone")
    assert edge.post("generate-image", SMALL).status_code == (503 if known else 200)
