"""sql/ over the original's tables, in both variants known from the field: sql/05_upgrade.sql."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.schema import apply_schema
from tests.conftest import Database
from tests.sql.test_schema import SNAPSHOT

USER = "11111111-1111-4111-8111-111111111111"

COMMON = """
create schema if not exists auth;
create table auth.users (id uuid primary key);
insert into auth.users values ('11111111-1111-4111-8111-111111111111');
create function auth.uid() returns uuid language sql stable as $$ select null::uuid $$;
create table image_generations (
    id uuid primary key default gen_random_uuid(), user_id uuid references auth.users (id), prompt text,
    negative_prompt text, model text, style text, width int, height int, steps int, guidance_scale numeric,
    status text check (status in ('pending', 'queued', 'processing', 'downloading', 'completed', 'failed')),
    error_message text, generation_time_seconds int, replicate_prediction_id text,
    created_at timestamptz default now(), updated_at timestamptz default now(), completed_at timestamptz
);
create table images (
    id uuid primary key default gen_random_uuid(), generation_id uuid references image_generations (id),
    user_id uuid, filename text, storage_path text, public_url text, file_size int, width int, height int,
    format text, prompt text, negative_prompt text, model text, created_at timestamptz default now()
);
create table models (
    id uuid primary key default gen_random_uuid(), replicate_id text, name text, provider text not null,
    default_width int, default_height int, default_steps int, default_guidance_scale numeric
);
insert into models (replicate_id, name, provider, default_width, default_height, default_steps)
values ('black-forest-labs/flux-schnell', 'Schnell', 'bfl', 768, 768, 4);
create view queue_health as select count(*)::int as pending_jobs from image_generations;
"""

# The documented variant, and the one with its own names for some columns.
DOCUMENTED = """
create table job_queue (
    id uuid primary key default gen_random_uuid(), job_type text not null, payload jsonb not null,
    status text not null default 'pending' check (status in ('pending', 'processing', 'completed', 'failed')),
    priority int default 0, attempt_number int default 0, max_attempts int default 3, result jsonb,
    error_message text, created_at timestamptz default now(), updated_at timestamptz default now(),
    completed_at timestamptz
);
create index on job_queue (status, priority desc, created_at asc) where status = 'pending';
create function enqueue_job(p_job_type text, p_payload jsonb, p_priority int default 0, p_max_attempts int default 3)
returns uuid language sql security definer as
'insert into public.job_queue (job_type, payload) values (p_job_type, p_payload) returning id';
create function claim_next_job()
returns table (id uuid, job_type text, payload jsonb, attempt_number int, max_attempts int)
language plpgsql security definer as $$ begin return; end $$;
create function complete_job(p_job_id uuid, p_result jsonb default null, p_error text default null) returns void
language sql security definer as 'update public.job_queue set status = status';
"""
FIELD = """
create table job_queue (
    id uuid primary key default gen_random_uuid(), job_type text not null, payload jsonb not null,
    status text not null default 'pending', attempts int default 0, max_attempts int default 3,
    priority int default 0, scheduled_at timestamptz default now(), started_at timestamptz,
    completed_at timestamptz, error_message text, error_details jsonb, created_by uuid,
    created_at timestamptz default now(), updated_at timestamptz default now()
);
create function enqueue_job(
    p_job_type text, p_payload jsonb, p_priority int, p_scheduled_at timestamptz, p_max_attempts int
) returns uuid language sql security definer as
'insert into public.job_queue (job_type, payload) values (p_job_type, p_payload) returning id';
create function claim_next_job() returns setof job_queue language sql as 'select * from public.job_queue limit 0';
"""
ROWS = """
insert into image_generations (id, user_id, prompt, status)
select gen_random_uuid(), '11111111-1111-4111-8111-111111111111', 'a cat', status
from unnest(array['pending', 'queued', 'processing', 'downloading', 'completed', 'failed']) as status;
insert into job_queue (job_type, payload, status)
select 'generate-image', jsonb_build_object(
    'generation_id', (select id from image_generations where image_generations.status = 'queued'),
    'user_id', '11111111-1111-4111-8111-111111111111', 'prompt', 'a cat', 'model_id', 'x/y'), status
from unnest(array['pending', 'processing', 'completed', 'failed']) as status;
"""
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
    url = dsn.rsplit("/", 1)[0] + "/original"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("drop database if exists original")
        admin.execute("create database original template template0")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            for part in (COMMON, request.param, ROWS):
                connection.execute(part)
            yield url, connection
        admin.execute("drop database original")


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
        'select * from start_generation(%s, \'{"prompt": "x", "model_id": "black-forest-labs/flux-schnell"}\')',
        (USER,),
    ).fetchone()
    assert db.execute(
        "select width from image_generations where id = %s", (started["generation_id"],)
    ).fetchone() == {"width": 768}
    db.execute("select enqueue_job('generate-image', '{}', 0, now(), 3)")
    db.execute("select enqueue_job('generate-image', '{}')")
    claimed = [db.execute("select * from claim_next_job()").fetchone() for _ in range(5)]
    assert [bool(job) for job in claimed] == [True] * 4 + [False], "one was pending before"
    db.execute("select complete_job(%s, null, 'x')", (claimed[0]["id"],))
    db.execute("update job_queue set status = 'cancelled' where id = %s", (claimed[1]["id"],))
    assert db.execute("select pending_jobs, processing_jobs from queue_health").fetchone() == {
        "pending_jobs": 1,
        "processing_jobs": 3,
    }


def test_jobs_that_waited_keep_their_order(original):
    url, db = original
    db.execute("delete from job_queue")
    db.execute(
        "insert into job_queue (job_type, payload, created_at, priority)"
        " select n::text, '{}', now() - n * interval '1 s', case when n = 3 then null else 0 end"
        " from generate_series(1, 5) as n"
    )
    if db.execute(HAS_ATTEMPTS).fetchone():
        db.execute("update job_queue set scheduled_at = created_at")
    apply_schema(url)
    claimed = [db.execute("select job_type from claim_next_job()").fetchone() for _ in range(5)]
    assert [job["job_type"] for job in claimed] == ["5", "4", "3", "2", "1"]


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
    job = db.execute("select * from claim_next_job()").fetchone()
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
    assert db.execute("select * from claim_next_job()").fetchone()
    with pytest.raises(psycopg.errors.NotNullViolation):
        db.execute(f"update job_queue set {column} = null")


@pytest.mark.parametrize(
    ("view", "query", "ours"),
    [
        ("queue_health", "select 1::text as processing_jobs", "in_flight_jobs"),
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
    assert ours in [column.name for column in db.execute(f"select * from {view}").description]


def test_policies_that_open_more_than_ours_are_named(original):
    url, db = original
    db.execute("alter table images enable row level security")
    db.execute("create policy everybody on images for select using (true)")
    told = [text for text in apply_schema(url) if "policy" in text]
    assert told == [
        'policy "everybody" on images is not ours and stays: look at which rows it opens'
    ]


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
    while len(worked) < 20:
        pass
    apply_schema(url)
    since = len(enqueued)
    while len(enqueued) < since + 20:
        pass
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
