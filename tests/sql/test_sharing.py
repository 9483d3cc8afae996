"""Who comes next: users take turns (sql/22), and what the provider would refuse waits (sql/23)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest

from tests.sql.help import claimed, until_blocked

ANN, BEN, CAT = (UUID(int=n) for n in (1, 2, 3))


def enqueue(db, user=None, count=1, **arguments):
    given = "".join(f", p_{name} => %({name})s" for name in arguments)
    return [
        db.execute(
            f"select enqueue_job('generate-image', '{{}}', p_created_by => %(user)s{given}) as id",
            {"user": user, **arguments},
        ).fetchone()["id"]
        for _ in range(count)
    ]


def test_a_users_first_job_waits_for_no_more_than_one_of_each_other_user(db):
    anns = enqueue(db, ANN, 1000)
    assert claimed(db, 3) == anns[:3]
    [bens] = enqueue(db, BEN)
    assert bens in claimed(db, 2)
    assert claimed(db, 3) == anns[4:7]


def test_users_take_turns(db):
    anns, bens, cats = (enqueue(db, user, 3) for user in (ANN, BEN, CAT))
    turns = [job for turn in zip(anns, bens, cats, strict=True) for job in turn]
    assert [claimed(db, 1)[0] for _ in range(9)] == turns


def test_each_priority_has_turns_of_its_own(db):
    anns = enqueue(db, ANN, 3, priority=1)
    enqueue(db, ANN)
    assert claimed(db, 2) == anns[:2]
    [bens] = enqueue(db, BEN, priority=1)
    assert claimed(db, 2) == [anns[2], bens]


@pytest.mark.parametrize("elsewhere", ["'generate-image', '{}', -1", "'other', '{}', 0"])
def test_what_a_user_has_elsewhere_is_no_turn(db, elsewhere):
    bens = enqueue(db, BEN, 3, priority=0)
    for _ in range(5):
        db.execute(f"select enqueue_job({elsewhere}, p_created_by => %s)", (ANN,))
    [anns] = enqueue(db, ANN)
    rows = db.execute("select id from claim_jobs(3, p_job_types => '{generate-image}')").fetchall()
    assert [row["id"] for row in rows] == [bens[0], anns, bens[1]]


def test_a_user_who_has_had_many_is_not_put_behind_for_ever(db):
    enqueue(db, ANN, 50)
    claimed(db, 50)
    bens = enqueue(db, BEN, 50)
    assert claimed(db, 1) == bens[:1]
    [again] = enqueue(db, ANN)
    assert again in claimed(db, 2)


def test_a_retry_goes_by_its_time_and_a_job_without_a_user_by_its_age(db):
    plain, anns = enqueue(db), enqueue(db, ANN, 2)
    [job] = db.execute("select * from claim_jobs(1)").fetchall()
    assert [job["id"]] == plain
    assert claimed(db, 1) == anns[:1]
    db.execute("select complete_job(%s, p_error => 'x', p_retry_after => '0 s')", (anns[0],))
    row = db.execute("select share_rank from job_queue where id = %s", (anns[0],)).fetchone()
    assert row == {"share_rank": 0}
    assert claimed(db, 2) == [anns[1], anns[0]], "the older of two heads first"


def test_a_delayed_job_of_a_user_waits_for_its_time(db):
    enqueue(db, ANN, scheduled_at="2999-01-01")
    [now] = enqueue(db, ANN)
    assert claimed(db, 5) == [now]
    left = db.execute("select share_rank from job_queue where status = 'pending'").fetchone()
    assert left == {"share_rank": 0}, "so that turns are looked through without the future's"


def test_what_a_429_forbids_waits_in_the_queue(db):
    [job] = enqueue(db, ANN)
    db.execute("select picture_edge.limit_provider('1 h')")
    db.execute("select enqueue_job('other', '{}')")
    [other] = db.execute("select * from claim_jobs(5)").fetchall()
    assert other["job_type"] == "other", "other types go on"
    assert claimed(db, 1) == []
    db.execute("update provider_limits set not_before = now()")
    assert claimed(db, 1) == [job]
    row = db.execute(
        "select attempt_number, errors from job_queue where id = %s", (job,)
    ).fetchone()
    assert row == {"attempt_number": 1, "errors": []}


def test_a_further_type_that_pays_a_provider_is_one_row(db):
    db.execute(
        "insert into job_types values ('video', 'elsewhere'), ('sketch', 'replicate'), ('mine', null)"
    )
    db.execute("select set_provider_limit(p_in_flight => 1, p_provider => 'elsewhere')")
    db.execute("select set_provider_limit(p_in_flight => 3)")
    for job_type in ("video", "generate-image", "sketch", "mine"):
        db.execute("select enqueue_job(%s, '{}') from generate_series(1, 2)", (job_type,))
    claim = "select job_type from claim_jobs(10) order by 1"
    taken = [row["job_type"] for row in db.execute(claim)]
    assert taken == ["generate-image", "generate-image", "mine", "mine", "sketch", "video"]
    assert db.execute(claim).fetchall() == []
    db.execute(
        "update job_queue set status = 'completed'"
        " where status = 'processing' and job_type in ('video', 'generate-image')"
    )
    assert [row["job_type"] for row in db.execute(claim)] == ["sketch", "video"]


def test_each_lane_spends_from_the_same_bucket(db):
    """Two priorities, and jobs with and without a user, are four parts of one claim."""
    db.execute("select set_provider_limit(p_per_minute => 60)")
    db.execute("update provider_limits set tokens = 2, refilled_at = now()")
    for user in (ANN, None):
        for priority in (0, 1):
            enqueue(db, user, 2, priority=priority)
    assert len(claimed(db, 8)) == 2
    assert db.execute("select tokens < 0.5 as it from provider_limits").fetchone() == {"it": True}


def test_an_account_held_to_a_rate_is_asked_at_that_rate(db):
    first, second, third = enqueue(db, ANN, 3)
    db.execute("select set_provider_limit(p_per_minute => 6000)")
    db.execute("select picture_edge.limit_provider('0 s', '10 s')")
    assert claimed(db, 3) == [first]
    assert claimed(db, 3) == []
    pass_time(db, 9)
    assert claimed(db, 3) == []
    pass_time(db, 60)
    assert claimed(db, 3) == [second]
    db.execute("update provider_limits set spaced_until = now()")
    pass_time(db, 1)
    assert claimed(db, 3) == [third]


def test_a_rate_without_a_distance_stops_no_claim(db):
    """Six hundred thousand million a minute are none that an interval could tell from 0."""
    jobs = enqueue(db, ANN, 2)
    db.execute("select picture_edge.limit_provider('0 s', make_interval(secs => 1e-10))")
    assert claimed(db, 2) == jobs


def pass_time(db, seconds):
    db.execute(
        "update provider_limits set refilled_at = refilled_at - %s", (timedelta(seconds=seconds),)
    )


def test_a_rate_of_ours_is_spent_by_claims_and_refilled_by_time(db):
    db.execute("select set_provider_limit(p_per_minute => 60)")
    enqueue(db, ANN, 200)
    assert len(claimed(db, 10)) == 1, "a new bucket holds one"
    pass_time(db, 1.5)
    assert len(claimed(db, 10)) == 1, "what is left of a token is kept"
    pass_time(db, 0.6)
    assert len(claimed(db, 10)) == 1
    pass_time(db, 3600)
    assert len(claimed(db, 10)) == 2, "no more than two seconds' worth at once"
    db.execute("select set_provider_limit()")
    assert len(claimed(db, 10)) == 10


def test_no_more_in_flight_than_allowed_parked_ones_counted(db):
    db.execute("select set_provider_limit(p_in_flight => 2)")
    jobs = enqueue(db, ANN, 5)
    assert claimed(db, 5) == jobs[:2]
    assert claimed(db, 5) == []
    db.execute("select complete_job(%s)", (jobs[0],))
    assert claimed(db, 5) == [jobs[2]]


def test_two_claims_at_once_share_the_limit(connect):
    first, second, db = connect(autocommit=False), connect(), connect()
    db.execute("select set_provider_limit(p_in_flight => 3)")
    enqueue(db, ANN, 10)
    assert len(claimed(first, 2)) == 2
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(claimed, second, 5)
        until_blocked(db, waiting)
        first.commit()
        assert len(waiting.result()) == 1, "what the first has taken counts"


@pytest.mark.parametrize("limits", ["0", "-1", "null, 0"])
def test_a_limit_of_nothing_is_a_mistake(db, limits):
    with pytest.raises(Exception, match="above 0"):
        db.execute(f"select set_provider_limit({limits})")
