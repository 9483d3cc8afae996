"""explain_job: each reason for which a job waits is named with what ends it; workers and their heartbeats."""

import re

import pytest

from tests.conftest import Database, Row
from tests.sql.help import NOBODY, OTHER, USER, begin, claim, expire, refused, start_all

SEEN = "select picture_edge.worker_seen(%s, 'host', '1', 3, 64, %s)"
TYPES = ["generate-image", "download-image"]


def explained(db: Database, an_id: object, aspect: str | None = None) -> list[str]:
    """What explain_job says of one aspect; of all of them, "aspect: detail"."""
    rows = db.execute("select * from explain_job(%s)", (an_id,)).fetchall()
    if aspect:
        return [row["detail"] for row in rows if row["aspect"] == aspect]
    return [f"{row['aspect']}: {row['detail']}" for row in rows]


def waits(db: Database, an_id: object) -> list[str]:
    """The first words of each reason: paused, provider limit, line …"""
    return [detail.split(":")[0] for detail in explained(db, an_id, "waits")]


@pytest.fixture
def worker(db: Database) -> str:
    """A process that runs jobs, seen just now."""
    db.execute(SEEN, ("w", TYPES))
    return "w"


def test_a_generation_and_its_job_are_explained_alike(db: Database, started: Row, worker):
    told = explained(db, started["generation_id"])
    without_ages = [re.sub(r", [\d.]+ s ago", "", text) for text in told]
    of_the_job = explained(db, started["job_id"])
    assert without_ages == [re.sub(r", [\d.]+ s ago", "", text) for text in of_the_job]
    assert f"generation: {started['generation_id']}" in told
    assert f"job: generate-image {started['job_id']}: pending" in told
    assert f"user: {USER}" in told
    assert "picture: queued" in told
    assert "waits: line: it is the next one of its type" in told


def test_an_id_that_nothing_has_gets_a_notice(db: Database):
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    assert explained(db, NOBODY) == explained(db, None) == []
    assert notices == [
        f"No job and no generation has the id {NOBODY}",
        "No job and no generation has the id null",
    ]


@pytest.mark.parametrize(
    ("held_by", "reason", "words"),
    [
        ("select pause_queue('generate-image')", "paused", "select resume_queue('generate-image') ends it"),
        ("select pause_queue()", "paused", "select resume_queue('*') ends it"),
        ("select picture_edge.limit_provider('1 h')", "provider limit", "replicate has answered 429"),
        ("select picture_edge.limit_provider('0', '10 s')", "provider limit", "one prediction each 10 s"),
        ("select set_provider_limit(60)", "provider limit", "60 predictions a minute"),
        ("update job_queue set scheduled_at = now() + interval '1 h'", "scheduled", "in 60 min"),
        ("update job_queue set scheduled_at = now() + interval '1 h', attempt_number = 1", "backoff", "in 60 min"),
        ("update job_queue set share_rank = -1", "suspect", "it runs alone"),
        ("delete from workers", "no worker", "Start one"),
        ("update workers set last_seen_at = now() - interval '31 s'", "no worker", "31 s ago"),
        ("update workers set job_types = '{generate_image}'", "no handler", "Perhaps it means generate_image"),
    ],
)  # fmt: skip
def test_what_holds_a_job_back_is_named(db: Database, started: Row, worker, held_by, reason, words):
    assert waits(db, started["job_id"]) == ["line"]
    db.execute(held_by)
    found = [text for text in explained(db, started["job_id"], "waits") if text.startswith(reason)]
    assert len(found) == 1
    assert words in found[0]


def test_a_full_provider_is_named_and_one_with_room_is_not(db: Database, worker):
    first, second = start_all(db, "a", "b")
    db.execute("select set_provider_limit(p_in_flight => 1)")
    assert waits(db, first["job_id"]) == ["line"]
    claim(db)
    assert explained(db, second["job_id"], "waits")[0] == (
        "provider limit: 1 predictions are under way, and 1 may be (set_provider_limit)"
    )


def test_the_place_in_line_is_the_order_of_the_claims(db: Database, enqueue):
    """Priorities, users in turn, jobs without a user, and age."""
    for n in range(24):
        user = [None, USER, USER, USER, OTHER, None][n % 6]
        enqueue(p_priority=n % 2, p_created_by=user)
    enqueue(p_job_type="another")
    query = "select id, picture_edge.place_in_line(id) as place from job_queue where job_type = 'generate-image'"
    places = {row["id"]: row["place"] for row in db.execute(query)}
    claimed = [row["id"] for row in db.execute("select * from claim_jobs(1)")]
    assert places[claimed[0]] == 0
    for _ in range(23):
        left = {row["id"]: row["place"] for row in db.execute(query + " and status = 'pending'")}
        assert min(left.values()) == 0
        [row] = db.execute("select * from claim_jobs(1, p_job_types => '{generate-image}')")
        claimed.append(row["id"])
    mean_error = sum(abs(places[job_id] - n) for n, job_id in enumerate(claimed)) / 24
    assert mean_error <= 3, "turns and ages are merged by claim_jobs; the estimate counts by age"


def test_a_long_line_is_read_to_a_bound(db: Database, enqueue, worker):
    db.execute(
        "insert into job_queue (job_type) select 'generate-image' from generate_series(1, 12000)"
    )
    last = enqueue()
    assert "line: at least 10000 jobs of its type are before it" in explained(db, last, "waits")


def test_no_evidence_is_no_estimate_and_what_has_ended_is_one(db: Database, start, worker):
    started = start(model_id="a/b")
    assert explained(db, started["job_id"], "expected") == [
        "not known: nothing like it has ended within ten minutes"
    ]
    db.execute(
        "insert into job_queue (job_type, status, started_at, completed_at)"
        " select 'generate-image', 'completed', now() - interval '30 s', now() from generate_series(1, 3)"
    )
    [expected] = explained(db, started["job_id"], "expected")
    assert expected.endswith((", in 30 s", ", in 29 s"))
    db.execute("select pause_queue()")
    assert explained(db, started["job_id"], "expected") == ["not before the pause ends"]


def test_a_line_moves_at_the_speed_of_the_last_minutes(db: Database, worker):
    """Sixty have ended within a minute: the sixty before it will take another."""
    db.execute(
        "insert into job_queue (job_type, status, started_at, completed_at) select 'a', 'completed',"
        " now() - n * interval '1 s', now() - n * interval '1 s' from generate_series(1, 60) as n"
    )
    db.execute(
        "insert into job_queue (job_type, scheduled_at)"
        " select 'a', now() - interval '1 h' from generate_series(1, 60)"
    )
    job_id = db.execute("select enqueue_job('a', '{}') as id").fetchone()["id"]  # type: ignore[index]
    query = "select picture_edge.seconds_left(j) as it from job_queue as j where id = %s"
    [row] = db.execute(query, (job_id,))
    assert 59 <= row["it"] <= 62


def test_a_job_is_not_expected_before_what_holds_it_back_ends(db: Database, started: Row, worker):
    """A worker, the provider's 429, its rate limit."""
    db.execute(
        "insert into job_queue (job_type, status, started_at, completed_at)"
        " values ('generate-image', 'completed', now() - interval '10 s', now())"
    )
    seconds = "select picture_edge.seconds_left(j) as it from job_queue as j where id = %s"

    def left() -> float:
        [row] = db.execute(seconds, (started["job_id"],))
        return float(row["it"])

    usual = left()
    db.execute("select picture_edge.limit_provider('1 h')")
    assert left() == pytest.approx(3600 + usual, abs=30)
    db.execute("delete from provider_limits")
    db.execute(
        "insert into job_queue (job_type, scheduled_at)"
        " select 'generate-image', now() - interval '1 h' from generate_series(1, 10)"
    )
    db.execute("select set_provider_limit(1)")
    assert left() == pytest.approx(600 + usual, abs=30)
    db.execute("delete from workers")
    assert explained(db, started["job_id"], "expected") == [
        "not before a worker runs that has a handler for it"
    ]


def test_a_running_job_names_its_worker_and_a_dead_one(db: Database, started: Row, worker):
    db.execute("select * from claim_jobs(1, 'w', '1 min')")
    assert explained(db, started["job_id"], "waits")[0].startswith("worker: w has it since ")
    assert explained(db, started["job_id"], "state") == ["processing, attempt 1 of 3"]
    expire(db, started["job_id"])
    assert explained(db, started["job_id"], "waits")[0].startswith("worker: w stopped answering.")


def test_a_parked_job_names_its_prediction(db: Database, started: Row):
    job = claim(db)
    begin(db, job, started["generation_id"])
    db.execute(
        "select picture_edge.park_prediction(intent_id, %(lease_token)s, 'p1') from"
        " picture_edge.intend_prediction(%(id)s, %(lease_token)s, 'a/b', null, '{}', 'png', '{}', '1 h')",
        job,
    )
    assert explained(db, started["generation_id"], "waits")[0].startswith(
        "provider: prediction p1 runs since"
    )
    assert explained(db, started["generation_id"], "prediction") == ["p1: a/b running"]


def test_every_attempt_is_told_with_its_error_and_the_end(db: Database, started: Row):
    for text, again in (("busy", True), ("refused", False)):
        job = claim(db)
        db.execute(
            "select complete_job(%s, p_error => %s, p_retry => %s, p_lease_token => %s)",
            (job["id"], text, again, job["lease_token"]),
        )
        db.execute("update job_queue set scheduled_at = now()")
    attempts = explained(db, started["generation_id"], "attempt")
    assert [text.split(", ")[0] for text in attempts] == [
        "1 of generate-image",
        "2 of generate-image",
    ]
    assert attempts[0].endswith("transient: busy")
    assert attempts[1].endswith("permanent: refused")
    assert explained(db, started["generation_id"], "state")[0].endswith(" ago: refused")
    assert explained(db, started["generation_id"], "waits") == []


def test_the_newest_job_that_has_not_ended_is_a_generations(db: Database, started: Row):
    db.execute("update job_queue set status = 'completed'")
    db.execute(
        "select enqueue_job('download-image', jsonb_build_object('generation_id', %s::text), p_created_by => %s)",
        (started["generation_id"], USER),
    )
    assert explained(db, started["generation_id"], "state") == ["pending"]
    assert [text.split()[0] for text in explained(db, started["generation_id"], "job")] == [
        "generate-image",
        "download-image",
    ]


def test_a_users_quotas_are_shown(db: Database, started: Row):
    assert explained(db, started["job_id"], "quota") == []
    db.execute("select set_user_quota(p_running => 1)")
    assert explained(db, started["job_id"], "quota") == ["running: 1 of 1 used"]


def test_a_generation_without_a_job_says_so(db: Database, started: Row):
    db.execute("delete from job_queue")
    assert explained(db, started["generation_id"], "job")[0].startswith("none: it was not queued")


def test_odd_times_and_payloads_are_explained_too(db: Database, enqueue):
    """As plain SQL may write them."""
    job_id = enqueue(p_payload='{"generation_id": "x", "model_id": 7}', p_scheduled_at="infinity")
    assert "scheduled: it may begin infinity" in explained(db, job_id, "waits")
    db.execute("update job_queue set scheduled_at = '-infinity'")
    assert explained(db, job_id, "state") == ["pending"]


def test_a_heartbeat_keeps_a_row_and_silence_ends_it(db: Database, as_role):
    as_role("service_role")
    db.execute(SEEN, ("a", TYPES))
    db.execute(SEEN, ("b", TYPES))
    [began, _] = db.execute("select * from workers order by worker_id").fetchall()
    db.execute(SEEN, ("a", ["generate-image"]))
    [a, _] = db.execute("select * from workers order by worker_id").fetchall()
    assert a["started_at"] == began["started_at"]
    assert a["last_seen_at"] > began["last_seen_at"]
    assert (a["job_types"], a["running"], a["slots"]) == (["generate-image"], 3, 64)
    db.execute(
        "update workers set last_seen_at = now() - interval '11 minutes' where worker_id = 'b'"
    )
    db.execute(SEEN, ("a", TYPES))
    assert [row["worker_id"] for row in db.execute("select worker_id from workers")] == ["a"]
    db.execute("select picture_edge.worker_gone('a')")
    assert db.execute("select * from workers").fetchall() == []


@pytest.mark.parametrize("role", ["authenticated", "anon"])
def test_users_may_not_look(db: Database, as_role, started: Row, role):
    """Neither at their own job nor at an id that nothing has: the refusal tells no difference."""
    as_role(role, USER)
    for an_id in (started["job_id"], started["generation_id"], NOBODY):
        refused(db, "select * from explain_job(%s)", (an_id,), "42501")
    refused(db, "select * from workers", (), "42501")


def test_the_service_role_may_look_and_a_granted_role_sees_no_more_than_its_own_rights(
    db: Database, as_role, started: Row, worker
):
    as_role("service_role")
    assert waits(db, started["job_id"]) == ["line"]
    assert explained(db, NOBODY) == []
    db.execute("reset role")
    db.execute("grant execute on function explain_job(uuid) to authenticated")
    as_role("authenticated", OTHER)
    assert explained(db, started["generation_id"]) == [], "another user's, by row level security"
