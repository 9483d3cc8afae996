"""sql/ over an earlier sql/ of ours, which had all functions in public: tests/sql/landed.sql.gz."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.schema import apply_schema
from scripts.stack import ticking
from tests.conftest import Database
from tests.help import eventually
from tests.sql.help import SNAPSHOT, USER
from tests.sql.originals import COMMON, DOCUMENTED, FIELD, LANDED, ROWS, database_of

pytestmark = pytest.mark.slow

BEFORE = {
    "new": (),
    "documented": (COMMON, DOCUMENTED, ROWS),
    "field variant": (COMMON, FIELD, ROWS),
}


@pytest.fixture(params=BEFORE)
def landed(request, dsn) -> Iterator[tuple[str, Database]]:
    """A database that the landed sql/ has made, or has upgraded."""
    with database_of(dsn, *BEFORE[request.param], LANDED) as made:
        yield made


@pytest.fixture
def landed_new(dsn) -> Iterator[tuple[str, Database]]:
    with database_of(dsn, LANDED) as made:
        yield made


# Jobs in every state, by the landed functions. The names are the job types.
JOBS = f"""
delete from public.job_queue;
select enqueue_job(job_type, '{{}}')
from unnest('{{waiting, running, completed, failed, cancelled, crashed}}'::text[]) as job_type;
select enqueue_job('later', '{{}}', p_scheduled_at => now() + interval '1 day');
select enqueue_job('a user''s', '{{}}', p_created_by => '{USER}');
select pause_queue('paused'), enqueue_job('paused', '{{}}');
select id from claim_jobs(1, 'w', '1 min', '{{running}}');
select complete_job(id, p_result => '{{"a": 1}}', p_lease_token => lease_token)
from claim_jobs(1, 'w', '1 min', '{{completed}}');
select complete_job(id, p_error => 'x', p_retry => false, p_lease_token => lease_token)
from claim_jobs(1, 'w', '1 min', '{{failed}}');
select cancel_job(id) from job_queue where job_type = 'cancelled';
update job_queue set crash_count = 2, share_rank = -1 where job_type = 'crashed';
"""
STARTED = """
select start_generations(array[%(user)s]::uuid[], array['{"prompt": "a cat", "model_id": "a/b"}']::jsonb[])
"""
CLAIMED = """
select id, lease_token, payload ->> 'generation_id' as generation
from claim_jobs(1, 'w', '1 min', '{generate-image}')
"""
INTENDED = "select intent_id from intend_prediction(%s, %s, 'a/b', null, '{}', 'png', '{}', '1 h')"
ROWS_NOW = """
select jsonb_object_agg(id, to_jsonb(j) - '{parked, updated_at}'::text[]) as jobs,
    (select jsonb_object_agg(id, to_jsonb(g)) from image_generations as g) as generations,
    (select jsonb_object_agg(id, to_jsonb(p) - 'pictures') from predictions as p) as predictions,
    (select jsonb_agg(to_jsonb(u)) from quota_uses as u) as uses
from job_queue as j
"""


def fill(db) -> dict[str, object]:
    """Jobs in every state; returns those whose attempt has come as far as a prediction, by how far."""
    db.execute(JOBS)
    reached: dict[str, object] = {}
    for stage in ("begun", "intended", "parked"):
        db.execute(STARTED, {"user": USER})
        job = db.execute(CLAIMED).fetchone()
        reached[stage] = job["id"]
        lease = (job["id"], job["lease_token"])
        db.execute("select begin_generate_image(%s, %s, %s, '1 h')", (*lease, job["generation"]))
        if stage == "begun":
            continue
        intent = db.execute(INTENDED, lease).fetchone()["intent_id"]
        if stage == "parked":
            db.execute("select park_prediction(%s, %s, 'p1')", (intent, job["lease_token"]))
    return reached


def test_every_row_is_kept_and_only_what_is_parked_is_marked_so(landed):
    url, db = landed
    reached = fill(db)
    before = db.execute(ROWS_NOW).fetchone()
    for _ in range(2):
        apply_schema(url)
        assert db.execute(ROWS_NOW).fetchone() == before
        parked = db.execute("select id from job_queue where parked").fetchall()
        assert [row["id"] for row in parked] == [reached["parked"]]
    db.execute(
        "update job_queue set lease_expires_at = now() - interval '1 s' where status = 'processing'"
    )
    db.execute("select picture_edge.requeue_expired()")
    crashes = db.execute(
        "select id, crash_count from job_queue where id = any(%s)", (list(reached.values()),)
    )
    assert {row["id"]: row["crash_count"] for row in crashes} == {
        reached["begun"]: 1,
        reached["intended"]: 1,
        reached["parked"]: 0,
    }


def test_it_is_what_a_new_database_is(landed_new, db):
    url, upgraded = landed_new
    fresh = db.execute(SNAPSHOT).fetchone()
    for _ in range(2):
        apply_schema(url)
        assert upgraded.execute(SNAPSHOT).fetchone() == fresh


PUBLIC = """
select oid::regprocedure::text as it from pg_proc where pronamespace = 'public'::regnamespace order by 1
"""
API = [
    "cancel_generation(uuid,uuid,text)",
    "cancel_job(uuid,text)",
    "cancel_jobs(text,integer,uuid,text[],timestamp with time zone,timestamp with time zone,text,boolean)",
    "claim_jobs(integer,text,interval,text[])",
    "claim_next_job(text[],text,interval)",
    "complete_job(uuid,jsonb,text,bigint,boolean,interval,text,text,jsonb)",
    "complete_jobs(uuid[],bigint[],jsonb[],text[],boolean[],interval[],text[])",
    "delete_generation(uuid,uuid)",
    "enqueue_job(text,jsonb,integer,integer,timestamp with time zone,text,uuid)",
    "enqueue_job(text,jsonb,integer,text,text)",
    "enqueue_job(text,jsonb,integer,timestamp with time zone,integer)",
    "enqueue_jobs(text[],jsonb[],integer[],integer[],timestamp with time zone[],text[],uuid[])",
    "explain_job(uuid)",
    "failure_groups(timestamp with time zone,timestamp with time zone,integer)",
    "get_user_limits(uuid)",
    "pause_cron_job(text)",
    "pause_queue(text)",
    "purge_jobs(interval,text[])",
    "redrive_failed(text,integer,timestamp with time zone,timestamp with time zone,text,boolean)",
    "redrive_generation(uuid)",
    "redrive_job(uuid)",
    "resend_webhook(uuid)",
    "resume_cron_job(text)",
    "resume_queue(text)",
    "run_cron_job_now(text)",
    "schedule_process_jobs(text,text,text)",
    "set_budget(numeric,numeric,text)",
    "set_model_active(text,boolean)",
    "set_provider_limit(double precision,integer,text)",
    "set_user_quota(uuid,integer,integer,integer)",
    "unschedule_process_jobs()",
]
BY_POSITION = ["complete_job(uuid,text,jsonb)", "complete_job(uuid,text,text)"]
FIELDS_OWN = ["update_updated_at_column()"]


def test_public_has_what_people_call_and_nothing_else(landed):
    url, db = landed
    apply_schema(url)
    found = [row["it"] for row in db.execute(PUBLIC)]
    field_variant = FIELDS_OWN[0] in found
    assert found == sorted([*API, *(BY_POSITION + FIELDS_OWN if field_variant else ())])
    sequences = db.execute(
        "select schemaname, sequencename from pg_sequences where schemaname <> 'auth' order by 2"
    ).fetchall()
    assert [tuple(row.values()) for row in sequences] == [
        ("picture_edge", "generation_hints"),
        ("picture_edge", "job_wakeups"),
        ("picture_edge", "lane_changes"),
        ("picture_edge", "leases_expired"),
        ("public", "operator_log_id_seq"),
        ("public", "quota_uses_id_seq"),
        ("public", "spend_id_seq"),
    ]
    called = db.execute(
        "select distinct tgfoid::regprocedure::text as it from pg_trigger where not tgisinternal order by 1"
    )
    outside = [row["it"] for row in called if not row["it"].startswith("picture_edge.")]
    assert outside == [
        "edge_private.delete_images_of_objects()",
        "edge_private.follow_own_cancel()",
        "edge_private.remove_files_of_images()",
        "edge_private.remove_files_of_job()",
        *(FIELDS_OWN if field_variant else ()),
    ]


def test_a_generation_that_was_begun_before_is_completed_after(landed):
    url, db = landed
    reached = fill(db)
    apply_schema(url)
    intent = db.execute(
        "select id, lease_token from predictions where job_id = %s", (reached["parked"],)
    ).fetchone()
    download = db.execute(
        "select * from picture_edge.succeed_prediction(%s, %s, '{https://x}', 3, 'w', '1 min')",
        (intent["id"], intent["lease_token"]),
    ).fetchone()
    row = db.execute("select status, parked from job_queue where id = %s", (reached["parked"],))
    assert row.fetchone() == {"status": "completed", "parked": False}
    db.execute(
        "select picture_edge.finish_download_image(%s, %s, %s)",
        (
            download["id"],
            download["lease_token"],
            f'[{{"user_id": "{USER}", "filename": "f", "storage_path": "p", "public_url": "u"}}]',
        ),
    )
    status = db.execute(
        "select status from image_generations where id = (%s::jsonb ->> 'generation_id')::uuid",
        (psycopg.types.json.Jsonb(download["payload"]),),
    )
    assert status.fetchone() == {"status": "completed"}


GRANTED = """
create role dashboard;
grant execute on function reopen_generation(uuid, text), extend_lease(uuid, bigint, interval) to dashboard;
"""
RIGHTS = """
select proname, has_function_privilege('dashboard', oid, 'execute') as call from pg_proc
where proname in ('reopen_generation', 'extend_lease', 'release_job') order by 1
"""


def test_rights_by_name_go_along(landed_new):
    """With one that is moved, and with one that is made anew."""
    url, db = landed_new
    db.execute(GRANTED)
    try:
        for _ in range(2):
            apply_schema(url)
            assert {row["proname"]: row["call"] for row in db.execute(RIGHTS)} == {
                "extend_lease": True,
                "release_job": False,
                "reopen_generation": True,
            }
            db.execute("set role dashboard")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="image_generations"):
                db.execute("select picture_edge.reopen_generation(gen_random_uuid())")
            db.execute("reset role")
    finally:
        db.execute("reset role; drop owned by dashboard; drop role dashboard")


OWN = """
create function public.{name} returns {returns} language plpgsql set search_path = '' as $$ begin return null; end $$;
comment on function public.{name} is 'A project''s own.';
"""
BODIES = "select md5(string_agg(prosrc, '' order by oid)) as it from pg_proc where oid = any (%s::regprocedure[])"


@pytest.mark.parametrize("before", BEFORE)
def test_a_projects_own_functions_of_such_a_name_stay(dsn, before):
    """With other arguments than ours; and on a database where no sql/ of ours was, with the same ones."""
    names = ["held_job(text)", "extend_lease(text)", "store_image(bytea)", "begin_generation(int)"]
    landed = before == "new"
    if not landed:
        names = ["queue_webhook()", "wake_workers()", "record_tick()"]
    with database_of(dsn, *BEFORE[before], *([LANDED] if landed else ())) as (url, db):
        for name in names:
            returns = "trigger" if name == "queue_webhook()" else "text"
            db.execute(
                OWN.format(name=name, returns=returns).replace(
                    "comment", "--" if landed else "comment"
                )
            )
        names = [f"public.{name}" for name in names]
        kept = db.execute(BODIES, (names,)).fetchone()
        for _ in range(2):
            apply_schema(url)
            assert db.execute(BODIES, (names,)).fetchone() == kept


def test_scheduled_calls_go_on(landed_new):
    url, db = landed_new
    with ticking(url):
        db.execute("select schedule_process_jobs('https://edge.example', 'k')")
        db.execute(
            "select cron.schedule('mine', '* * * * *', 'select public.process_jobs_headers()')"
        )
        db.execute("select cron.schedule('other', '* * * * *', 'select 1')")
        for _ in range(2):
            apply_schema(url)
            commands = db.execute("select jobname, command from cron.job").fetchall()
            told = {row["jobname"]: row["command"] for row in commands}
            assert "headers := picture_edge.process_jobs_headers()" in told["process-jobs-worker"]
            assert told["mine"] == "select picture_edge.process_jobs_headers()"
            assert told["other"] == "select 1"
            for command in told.values():
                db.execute(command)


UNDEFINED_FUNCTION, LOCK_TIMEOUT = "42883", "55P03"


def test_traffic_goes_on_through_the_public_functions(landed_new):
    """A call in flight at the change may fail, whole, and is repeated; nothing is lost, and nothing ends twice."""
    url, db = landed_new
    enqueued: list[object] = []
    ended: list[object] = []
    failures: set[str | None] = set()
    stop, enqueued_all = threading.Event(), threading.Event()

    def repeat(connection, statement, arguments=()):
        while True:
            try:
                return connection.execute(statement, arguments).fetchall()
            except psycopg.Error as error:
                assert not connection.closed
                failures.add(error.sqlstate)

    def enqueue():
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            while not stop.is_set():
                [row] = repeat(
                    connection, "select enqueue_job('a', '{}', p_created_by => %s) as id", (USER,)
                )
                enqueued.append(row["id"])

    def work():
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            while not enqueued_all.is_set() or len(ended) < len(enqueued):
                rows = repeat(connection, "select id, lease_token from claim_jobs(3, 'w', '1 min')")
                ids, tokens = [row["id"] for row in rows], [row["lease_token"] for row in rows]
                done = repeat(
                    connection,
                    "select complete_jobs(%s::uuid[], %s::bigint[]) as id",
                    (ids, tokens),
                )
                ended.extend(row["id"] for row in done)

    def until_20_more_end():
        wanted = len(ended) + 20
        eventually(lambda: len(ended) >= wanted)

    threads = [threading.Thread(target=target) for target in (enqueue, enqueue, work, work, work)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        until_20_more_end()
        apply_schema(url)
    until_20_more_end()
    stop.set()
    for thread in threads[:2]:
        thread.join()
    enqueued_all.set()  # an enqueue may have been under way when it was told to stop
    for thread in threads[2:]:
        thread.join()
    assert failures <= {UNDEFINED_FUNCTION, LOCK_TIMEOUT}
    assert len(set(enqueued)) == len(enqueued)
    assert len(set(ended)) == len(ended)
    assert set(ended) == set(enqueued)
    rows = db.execute(
        "select distinct status, attempt_number, crash_count from job_queue"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [("completed", 1, 0)]
