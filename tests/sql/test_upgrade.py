"""sql/ over an earlier database, the original's in both variants or one of ours: sql/03 and sql/05."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.schema import apply_schema
from tests.conftest import Database
from tests.help import eventually
from tests.sql.help import SNAPSHOT, USER, claim
from tests.sql.originals import COMMON, DOCUMENTED, EARLIER, FIELD, ROWS, database_of

pytestmark = pytest.mark.slow

KEPT = """
select (select jsonb_object_agg(id, status) from job_queue) as jobs,
       (select jsonb_object_agg(id, status) from image_generations) as generations,
       (select jsonb_agg(replicate_id) from models) as models
"""


HAS_ATTEMPTS = (
    "select 1 from pg_attribute where attname = 'attempts' and attrelid = 'job_queue'::regclass"
)


@pytest.fixture(params=[DOCUMENTED, FIELD], ids=["documented", "field variant"])
def original(request, dsn) -> Iterator[tuple[str, Database]]:
    """A database as the original left it, with rows in every status."""
    with database_of(dsn, COMMON, request.param, ROWS) as made:
        yield made


def test_every_row_and_id_is_kept_and_a_second_time_changes_nothing(original):
    url, db = original
    before = db.execute(KEPT).fetchone()
    apply_schema(url)
    assert db.execute(KEPT).fetchone() == before
    schema = db.execute(SNAPSHOT).fetchone()
    apply_schema(url)
    assert db.execute(SNAPSHOT).fetchone() == schema
    assert db.execute(KEPT).fetchone() == before


def test_it_serves(original):
    url, db = original
    apply_schema(url)
    started = db.execute(
        "select * from picture_edge.start_generation"
        '(%s, \'{"prompt": "x", "model_id": "black-forest-labs/flux-schnell"}\')',
        (USER,),
    ).fetchone()
    assert db.execute(
        "select width from image_generations where id = %s", (started["generation_id"],)
    ).fetchone() == {"width": 768}
    db.execute("select enqueue_job('generate-image', '{}', 0, now(), 3)")
    db.execute("select enqueue_job('generate-image', '{}')")
    claimed = [claim(db) for _ in range(5)]
    assert [bool(job) for job in claimed] == [True] * 4 + [False], "one was pending before"
    db.execute("select complete_job(%s, null, 'x')", (claimed[0]["id"],))
    db.execute("update job_queue set status = 'cancelled' where id = %s", (claimed[1]["id"],))
    assert db.execute("select pending_jobs, processing_jobs from queue_status").fetchone() == {
        "pending_jobs": 1,
        "processing_jobs": 3,
    }


def test_jobs_that_waited_keep_their_order(original):
    url, db = original
    db.execute("delete from job_queue")
    db.execute(
        "insert into job_queue (job_type, payload, created_at, priority)"
        " select 'generate-image', jsonb_build_object('n', n), now() - n * interval '1 s',"
        " case when n = 3 then null else 0 end from generate_series(1, 5) as n"
    )
    if db.execute(HAS_ATTEMPTS).fetchone():
        db.execute("update job_queue set scheduled_at = created_at")
    apply_schema(url)
    claimed = [db.execute("select payload from claim_next_job()").fetchone() for _ in range(5)]
    assert [job["payload"]["n"] for job in claimed] == [5, 4, 3, 2, 1]


def test_statuses_are_checked_as_on_a_new_database(original):
    url, db = original
    apply_schema(url)
    for table in ("job_queue", "image_generations"):
        db.execute(f"update {table} set status = 'cancelled' where status = 'pending'")
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute(f"update {table} set status = 'lost' where status = 'processing'")


def test_a_job_the_old_worker_had_in_hand_runs_again_after_its_ten_minutes(original):
    url, db = original
    apply_schema(url)
    left = db.execute(
        "select lease_expires_at - now() > interval '9 minutes' as left, created_by is not null as owned"
        " from job_queue where status = 'processing'"
    ).fetchall()
    assert left == [{"left": True, "owned": True}]


EARLIER_OURS = (  # attempts could be read, but not written
    "alter table job_queue rename column attempts to attempt_number; alter table job_queue"
    " add column attempts int generated always as (attempt_number) stored"
)


@pytest.mark.parametrize("original", [FIELD], indirect=True, ids=["field variant"])
@pytest.mark.parametrize("before", ["select 1", EARLIER_OURS], ids=["original", "earlier ours"])
def test_the_field_variants_statements_still_read_and_write_attempts(original, before):
    url, db = original
    counts = "select attempts, attempt_number from job_queue where id = %s"
    db.execute("update job_queue set attempts = 2 where status = 'failed'")
    db.execute(before)
    apply_schema(url)
    [failed] = db.execute("select * from job_queue where status = 'failed'").fetchall()
    assert (failed["attempts"], failed["attempt_number"]) == (2, 2)
    job = claim(db)
    assert db.execute(counts, (job["id"],)).fetchone() == {"attempts": 1, "attempt_number": 1}
    db.execute("delete from job_queue where id = %s", (job["id"],))
    for reset in ("attempts = 0", "attempt_number = 0"):
        db.execute("update job_queue set status = 'failed', attempts = 3, max_attempts = 3")
        db.execute(f"update job_queue set status = 'pending', {reset}, error_message = null")
        assert db.execute(counts, (failed["id"],)).fetchone() == {
            "attempts": 0,
            "attempt_number": 0,
        }
    db.execute("insert into job_queue (job_type, payload, attempts) values ('last', '{}', 2)")
    last = db.execute("select * from claim_jobs(1, p_job_types => '{last}')").fetchone()
    assert last["attempt_number"] == 3


@pytest.mark.parametrize(
    "column", ["priority", "max_attempts", "payload", "scheduled_at", "created_at"]
)
def test_what_a_claim_counts_on_is_there(original, column):
    """A null priority would come before all others and end the search for them."""
    url, db = original
    if column != "payload" and (column != "scheduled_at" or db.execute(HAS_ATTEMPTS).fetchone()):
        db.execute(f"update job_queue set {column} = null")
    apply_schema(url)
    assert claim(db)
    with pytest.raises(psycopg.errors.NotNullViolation):
        db.execute(f"update job_queue set {column} = null")


@pytest.mark.parametrize(
    ("view", "query", "ours"),
    [
        ("queue_health", "select 1::text as processing_jobs", None),
        ("stuck_jobs", "select job_type as id from job_queue", "lease_expires_at"),
        ("failed_jobs_recent", "select * from job_queue", "errors"),
    ],
)
def test_the_originals_views_give_way_whatever_they_show(original, view, query, ours):
    url, db = original
    db.execute(f"drop view if exists {view}")
    # As Supabase's linter has everybody write them.
    db.execute(f"create view {view} with (security_invoker = true) as {query}")
    apply_schema(url)
    ours = ours or ("avg_attempts" if db.execute(HAS_ATTEMPTS).fetchone() else "in_flight_jobs")
    assert ours in [column.name for column in db.execute(f"select * from {view}").description]


def test_policies_that_open_more_than_ours_are_named(original):
    url, db = original
    db.execute("alter table images enable row level security")
    db.execute("create policy everybody on images for select using (true)")
    told = [text for text in apply_schema(url) if "policy" in text]
    assert 'policy "everybody" on images is not ours and stays: look at which rows it opens' in told
    known = [text for text in told if "everybody" not in text]
    assert known == (KNOWN_POLICIES if db.execute(HAS_ATTEMPTS).fetchone() else [])


ON_TOP = """
create role dashboard;
grant execute on function claim_next_job to dashboard;
grant select on queue_health, stuck_jobs to dashboard;
"""
RIGHTS = """
select has_function_privilege('dashboard', oid, 'execute') as call,
    (select bool_and(has_table_privilege('dashboard', name, 'select'))
     from unnest(array['queue_health', 'queue_status', 'stuck_jobs']) as name) as read
from pg_proc where proname = 'claim_next_job'
"""


def test_who_had_rights_by_name_keeps_them(original):
    url, db = original
    db.execute(ON_TOP)
    try:
        for _ in range(2):
            apply_schema(url)
            assert db.execute(RIGHTS).fetchall() == [{"call": True, "read": True}]
        db.execute(EARLIER)
        db.execute("grant execute on function claim_next_job(text[], text, interval) to dashboard")
        db.execute("grant select on queue_health, stuck_jobs to dashboard")
        apply_schema(url)
        assert db.execute(RIGHTS).fetchall() == [{"call": True, "read": True}]
    finally:
        db.execute("drop owned by dashboard; drop role dashboard")


@pytest.mark.parametrize("original", [FIELD], indirect=True, ids=["field variant"])
def test_what_a_project_has_built_on_the_field_variants_views_stays(original):
    url, db = original
    for view in ("queue_health", "failed_jobs_recent", "stuck_jobs"):
        db.execute(f"create view my_{view} as select * from {view}")
    columns = [column.name for column in db.execute("select * from my_queue_health").description]
    for _ in range(2):
        apply_schema(url)
    assert columns == [
        column.name for column in db.execute("select * from my_queue_health").description
    ]
    assert sum(row["count"] for row in db.execute("select * from my_queue_health")) == 4
    assert len(db.execute("select * from my_failed_jobs_recent").fetchall()) == 1


@pytest.mark.parametrize("original", [FIELD], indirect=True, ids=["field variant"])
def test_what_was_built_on_an_earlier_queue_health_of_ours_goes_along(original):
    url, db = original
    apply_schema(url)
    db.execute(EARLIER)
    db.execute("create view mine as select pending_jobs from queue_health")
    apply_schema(url)
    assert db.execute("select * from mine").fetchall() == [{"pending_jobs": 1}]


@pytest.mark.parametrize(
    ("on_top", "named"),
    [
        ("create view mine as select id from claim_next_job()", "claim_next_job"),
        ("create view mine as select * from my_health", "queue_health"),
    ],
)
def test_what_would_be_lost_stops_the_upgrade_and_is_named(original, on_top, named):
    url, db = original
    db.execute("drop view queue_health; create view queue_health as select 'x' as is_well")
    db.execute("create view my_health as select * from queue_health")
    if named == "claim_next_job":
        db.execute("drop view my_health")
    db.execute(on_top)
    before = db.execute("select count(*) as n from pg_proc").fetchone()
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=named):
        apply_schema(url)
    assert db.execute("select count(*) as n from pg_proc").fetchone() == before
    assert db.execute("select * from mine").description


KNOWN_POLICIES = [
    'policy "Service role has full access" on job_queue is dropped: that role passes them all',
    'policy "Users can view their own jobs" on job_queue is not ours and stays: look at which rows it opens',
]


LIMITS = f"select get_user_limits('{USER}') as it"
WITHOUT_A_LEDGER = """
drop table quota_uses cascade;
drop function picture_edge.spend_quota, picture_edge.end_quota_use, picture_edge.hold_quotas;
drop function picture_edge.count_generation, picture_edge.end_generation_use cascade;
"""


def test_an_upgrade_gives_no_quota_back_and_counts_nothing_twice(original):
    """What was begun within a day, and what still runs; a pending row has been paid for by nobody."""
    url, db = original
    old = "insert into image_generations (user_id, status, created_at) values (%s, %s, now() - %s::interval)"
    for status in ("completed", "queued"):
        db.execute(old, (USER, status, "3 hours"))
        db.execute(old, (USER, status, "3 days"))
    db.execute(
        "insert into image_generations (user_id, prompt, status) values (null, 'x', 'queued')"
    )
    counts = {"hourly_used": 5, "daily_used": 7, "running_used": 5}
    for _ in range(2):
        apply_schema(url)
        assert counts.items() <= db.execute(LIMITS).fetchone()["it"].items()
    db.execute(WITHOUT_A_LEDGER)  # as this schema was before it had one
    apply_schema(url)
    assert counts.items() <= db.execute(LIMITS).fetchone()["it"].items()
    db.execute("update image_generations set status = 'cancelled' where status = 'queued'")
    assert db.execute(LIMITS).fetchone()["it"]["running_used"] == 2
    db.execute("update image_generations set status = 'processing' where status = 'pending'")
    assert db.execute(LIMITS).fetchone()["it"]["hourly_used"] == 6


OLD_WORKER = """
update job_queue set status = 'completed', result = '{"by": "the old worker"}', completed_at = now()
where id = (select id from job_queue where status = 'pending' limit 1 for update skip locked) returning id
"""


def test_traffic_goes_on_during_the_upgrade_and_no_job_is_lost_or_doubled(original):
    """Callers of the old functions and a worker with SQL of its own; a call that fails in the change is repeated."""
    url, db = original
    db.execute("delete from job_queue")
    enqueued: list = []
    worked: list = []
    stop = threading.Event()

    def go(statement, results):
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            while not stop.is_set():
                try:
                    row = connection.execute(statement).fetchone()
                except psycopg.Error:
                    assert not connection.closed
                    continue
                if row:
                    results.append(row["id"])

    enqueue = "select enqueue_job('generate-image', '{\"prompt\": \"x\"}', 0, now(), 3) as id"
    if not db.execute(HAS_ATTEMPTS).fetchone():
        enqueue = "select enqueue_job('generate-image', '{\"prompt\": \"x\"}') as id"
    old_result = OLD_WORKER
    if db.execute(HAS_ATTEMPTS).fetchone():
        old_result = OLD_WORKER.replace('result = \'{"by": "the old worker"}\', ', "")
    threads = [
        threading.Thread(target=go, args=work)
        for work in ((enqueue, enqueued), (enqueue, enqueued), (old_result, worked))
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: len(worked) >= 20)
    apply_schema(url)
    since = len(enqueued)
    eventually(lambda: len(enqueued) >= since + 20)
    stop.set()
    for thread in threads:
        thread.join()
    claimed = [row["id"] for row in db.execute("select id from claim_jobs(100000)")]
    assert len(set(enqueued)) == len(enqueued)
    assert sorted(worked + claimed) == sorted(enqueued)


def test_absurd_times_of_an_earlier_version_of_ours_are_forgotten(db, dsn):
    db.execute("alter table predictions drop constraint predictions_seconds_check")
    db.execute(
        "insert into predictions (job_id, lease_token, model, input, status, seconds, expires_at, ended_at)"
        " select gen_random_uuid(), 1, 'a/b', '{}', 'succeeded', seconds, now(), now()"
        " from unnest('{1e308, NaN, -5, 4, null}'::float8[]) as seconds"
    )
    for _ in range(2):
        apply_schema(dsn)
        kept = db.execute("select seconds from predictions order by seconds").fetchall()
        assert [row["seconds"] for row in kept] == [4, None, None, None, None]
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute("update predictions set seconds = 1e308")


def test_jobs_that_two_workers_had_died_with_before_run_alone(db, dsn):
    """As an earlier version of ours left them: in the lanes, like any other."""
    db.execute("drop index job_queue_suspect_idx")
    db.execute(
        "insert into job_queue (job_type, status, crash_count, lease_expires_at)"
        " select status || crashes, status, crashes, case status when 'processing' then now() + interval '1 h' end"
        " from unnest('{pending, processing, failed}'::text[]) as status, generate_series(1, 3) as crashes"
    )
    for _ in range(2):
        apply_schema(dsn)
        found = db.execute(
            "select job_type from job_queue where share_rank < 0 order by 1"
        ).fetchall()
        # One that runs now does not run alone: it is judged by what becomes of it.
        assert [row["job_type"] for row in found] == ["failed2", "failed3", "pending2", "pending3"]
    assert db.execute("select job_type from claim_jobs(9)").fetchall() == [{"job_type": "pending1"}]
