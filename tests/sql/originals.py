"""Databases as they were left before an upgrade: by the original in its two forms, and by an earlier sql/ of ours."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from tests.conftest import Database
from tests.sql.help import OTHER, USER

COMMON = f"""
do $$
declare v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_roles where rolname = v_role) then
            execute format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
    alter role service_role bypassrls;
end $$;
create schema if not exists auth;
create table auth.users (id uuid primary key);
insert into auth.users values ('{USER}'), ('{OTHER}');
create function auth.uid() returns uuid language sql stable as $$
    select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
grant usage on schema auth to anon, authenticated, service_role;
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
"""

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
create view queue_health as
select count(*) filter (where status = 'pending') as pending_jobs,
    count(*) filter (where status = 'processing')::int as processing_jobs, 0 as completed_last_hour,
    0 as failed_last_hour, 0.0 as avg_processing_time_seconds
from job_queue;
create view failed_jobs_recent as select * from job_queue where status = 'failed';
create view stuck_jobs as select * from job_queue where status = 'processing';
"""

# The app's own migration, statement by statement: its own names for some columns, and its users call it.
FIELD = """
create table job_queue (
    id uuid primary key default gen_random_uuid(),
    job_type text not null
    check (job_type in ('generate-image', 'download-image', 'process-webhook', 'cleanup-storage')),
    payload jsonb not null,
    status text not null default 'pending'
    check (status in ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    attempts int default 0, max_attempts int default 3,
    scheduled_at timestamptz default now(), started_at timestamptz, completed_at timestamptz,
    error_message text, error_details jsonb,
    created_by uuid references auth.users (id) on delete set null,
    priority int default 0, created_at timestamptz default now(), updated_at timestamptz default now()
);
create index idx_job_queue_status_scheduled on job_queue (status, scheduled_at) where status = 'pending';
create index idx_job_queue_type_status on job_queue (job_type, status);
create index idx_job_queue_created_by on job_queue (created_by);
create index idx_job_queue_priority on job_queue (priority desc, created_at);

create function update_updated_at_column() returns trigger language plpgsql as
$$ begin new.updated_at = now(); return new; end $$;
create trigger update_job_queue_updated_at before update on job_queue
for each row execute function update_updated_at_column();

alter table job_queue enable row level security;
create policy "Users can view their own jobs" on job_queue for select using (auth.uid() = created_by);
create policy "Service role has full access" on job_queue for all using (true) with check (true);
grant all on job_queue to anon, authenticated, service_role; -- as Supabase does with each new table

create function enqueue_job(
    p_job_type text, p_payload jsonb, p_priority int default 0, p_scheduled_at timestamptz default now(),
    p_max_attempts int default 3
) returns uuid language plpgsql security definer as $$
declare v_id uuid;
begin
    insert into job_queue (job_type, payload, priority, scheduled_at, max_attempts, created_by)
    values (p_job_type, p_payload, p_priority, p_scheduled_at, p_max_attempts, auth.uid()) returning id into v_id;
    return v_id;
end $$;
create function claim_next_job(p_job_types text[] default null) returns setof job_queue
language plpgsql security definer as $$
begin
    return query update job_queue set status = 'processing', started_at = now() where id = (
        select id from job_queue where status = 'pending' and scheduled_at <= now()
            and (p_job_types is null or job_type = any (p_job_types))
        order by priority desc, created_at limit 1 for update skip locked
    ) returning *;
end $$;
create function complete_job(p_job_id uuid, p_error_message text default null, p_error_details jsonb default null)
returns void language plpgsql security definer as $$
begin
    update job_queue set status = case when p_error_message is null then 'completed' else 'failed' end,
        error_message = p_error_message, error_details = p_error_details, completed_at = now() where id = p_job_id;
    if not found then raise exception 'Job not found: %', p_job_id; end if;
end $$;
grant execute on function enqueue_job to authenticated;
grant execute on function claim_next_job to service_role;
grant execute on function complete_job to service_role;

create view queue_health as
select job_type, status, count(*) as count, min(created_at) as oldest_job, max(created_at) as newest_job,
    avg(extract(epoch from (completed_at - started_at))) as avg_duration_seconds, avg(attempts) as avg_attempts
from job_queue group by job_type, status;
create view failed_jobs_recent as
select id, job_type, payload, attempts, error_message, created_at, completed_at
from job_queue where status = 'failed' and completed_at > now() - interval '24 hours' order by completed_at desc;
create view stuck_jobs as
select id, job_type, payload, started_at, extract(epoch from (now() - started_at)) / 60 as minutes_stuck
from job_queue where status = 'processing' and started_at < now() - interval '10 minutes';
grant select on queue_health, failed_jobs_recent, stuck_jobs to authenticated;
"""

ROWS = f"""
insert into image_generations (id, user_id, prompt, status)
select gen_random_uuid(), '{USER}', 'a cat', status
from unnest(array['pending', 'queued', 'processing', 'downloading', 'completed', 'failed']) as status;
insert into job_queue (job_type, payload, status)
select 'generate-image', jsonb_build_object(
    'generation_id', (select id from image_generations where image_generations.status = 'queued'),
    'user_id', '{USER}', 'prompt', 'a cat', 'model_id', 'x/y'), status
from unnest(array['pending', 'processing', 'completed', 'failed']) as status;
"""

# What sql/ was before it knew the field variant's calls: today's database, taken back to it.
EARLIER = """
drop schema edge_private cascade;
drop policy job_queue_cancel_own on job_queue;
drop policy job_queue_cancel_only on job_queue;
revoke all on job_queue, queue_health, failed_jobs_recent, stuck_jobs from authenticated;
grant select on job_queue to authenticated;
drop view queue_health, failed_jobs_recent, stuck_jobs;
alter view queue_status rename to queue_health;
create view failed_jobs_recent with (security_invoker = true) as
select id, job_type, error_message, attempt_number, max_attempts, created_at, updated_at, completed_at, errors,
    payload, worker_id
from job_queue where status = 'failed' and completed_at > now() - interval '24 hours' order by completed_at desc;
create view stuck_jobs with (security_invoker = true) as
select id, job_type, status, attempt_number, max_attempts, created_at, started_at, updated_at, worker_id,
    lease_expires_at, payload
from job_queue where status = 'processing' and least(started_at, updated_at) < now() - interval '10 minutes';
do $$
declare v_function regprocedure;
begin
    for v_function in
        select oid from pg_proc where pronamespace = 'public'::regnamespace
            and proname in ('enqueue_job', 'claim_next_job', 'complete_job')
    loop
        execute format('drop function %s', v_function);
    end loop;
    if exists (select from pg_attribute where attrelid = 'job_queue'::regclass and attname = 'attempts') then
        create function claim_next_job(p_job_types text[] default null) returns setof job_queue
        language sql security definer as 'select * from public.job_queue limit 0';
    else
        alter table job_queue drop column error_details;
    end if;
end $$;
create function enqueue_job(
    p_job_type text, p_payload jsonb, p_priority int default 0, p_max_attempts int default 3,
    p_scheduled_at timestamptz default null, p_dedupe_key text default null, p_created_by uuid default null
) returns uuid language sql set search_path = '' as 'select null::uuid';
create function enqueue_job(text, jsonb, int, timestamptz, int) returns uuid language sql set search_path = ''
as 'select null::uuid';
create function claim_next_job(
    p_job_types text[] default null, p_worker_id text default 'claim_next_job', p_lease interval default '10 minutes'
) returns table (
    id uuid, job_type text, payload jsonb, attempt_number int, max_attempts int, lease_token bigint,
    lease_expires_at timestamptz
) language sql set search_path = '' as 'select * from public.claim_jobs(1, p_worker_id, p_lease, p_job_types)';
create function complete_job(
    p_job_id uuid, p_result jsonb default null, p_error text default null, p_lease_token bigint default null,
    p_retry boolean default true, p_retry_after interval default null, p_error_class text default null
) returns void language sql set search_path = '' as 'select null::void';
"""

# All files of sql/ as they landed before there was a schema picture_edge, one after the other.
LANDED = gzip.decompress(Path(__file__).with_name("landed.sql.gz").read_bytes()).decode()


@contextmanager
def database_of(server: str, *parts: str) -> Iterator[tuple[str, Database]]:
    """The address of a database that ``parts`` have made, and a connection to it. ``server``: any database of it."""
    url = server.rsplit("/", 1)[0] + "/original"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("drop database if exists original")
        admin.execute("create database original template template0")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            for part in parts:
                connection.execute(part)  # type: ignore[arg-type]
            yield url, connection
        admin.execute("drop database original with (force)")
