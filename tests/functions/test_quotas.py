"""How much a user may ask for: at a time, an hour, a day; whoever asks, and however."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.conftest import Edge, user_token

BODY = {"prompt": "a cat", "model_id": "black-forest-labs/flux-schnell"}


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
    db.execute("update image_generations set created_at = now() - interval '61 minutes'")
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


@pytest.mark.parametrize("recorded", [True, False])
def test_generate_image_shares_the_quota(edge: Edge, db, recorded):
    limit(db, p_daily=1)
    body = dict(BODY)
    if recorded:
        row = db.execute(
            "insert into image_generations (user_id, prompt) values (%s, 'x') returning id::text", (edge.user_id,)
        ).fetchone()  # fmt: skip
        body["generation_id"] = row["id"]
    answer = edge.post("generate-image", body)
    assert answer.status_code == 200, "its own row is the one"
    db.execute(
        "insert into image_generations (user_id, prompt, status) values (%s, 'x', 'completed')", (edge.user_id,)
    )  # fmt: skip
    assert edge.post("start-generation", BODY).status_code == 429
    assert edge.post("generate-image", BODY).status_code == 429


def test_settings_are_everybodys_quota(start_edge, db):
    edge = start_edge(QUOTA_HOURLY="1")
    while limits(db, edge)["hourly_limit"] != 1:
        pass
    assert edge.post("start-generation", BODY).status_code == 200
    assert edge.post("start-generation", BODY).status_code == 429
