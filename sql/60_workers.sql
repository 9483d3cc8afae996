-- workers: a row for each process that runs jobs. worker_seen: its heartbeat.
-- Called by   functions/process_jobs/presence.py, each few seconds; explain_job reads the table, and so do operators
-- Promises    a process that is silent for 10 minutes has no row; until then the row tells when it was last seen

create table if not exists public.workers (
    worker_id text primary key,
    host text not null,
    version text not null,
    started_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    running int not null,
    slots int not null,
    job_types text[] not null
);
-- HOT updates: a heartbeat touches no indexed column, and finds room on its page.
alter table public.workers set (fillfactor = 50);

comment on table public.workers is
'Processes that run jobs, each with its last heartbeat. Silent for 30 seconds: dead or stuck. For 10 minutes: dropped.';
comment on column public.workers.worker_id is
'As in job_queue.worker_id: host, process id, a part that is new each start.';
comment on column public.workers.host is 'The machine''s or the container''s name.';
comment on column public.workers.version is 'The version of the code.';
comment on column public.workers.started_at is 'When the process was first seen.';
comment on column public.workers.last_seen_at is 'The last heartbeat.';
comment on column public.workers.running is 'Attempts in flight at that time; parked jobs hold no worker.';
comment on column public.workers.slots is 'How many attempts the process runs side by side (WORKER_CONCURRENCY).';
comment on column public.workers.job_types is 'The job types that it has a handler for, and claims.';

create or replace function picture_edge.worker_seen(
    p_worker_id text, p_host text, p_version text, p_running int, p_slots int, p_job_types text[]
) returns void
language sql
set search_path = ''
as $$
    insert into public.workers as known (worker_id, host, version, running, slots, job_types)
    values (p_worker_id, p_host, p_version, p_running, p_slots, p_job_types)
    on conflict (worker_id) do update set
        last_seen_at = excluded.last_seen_at, running = excluded.running, slots = excluded.slots,
        job_types = excluded.job_types;
    -- Skip locked: a silent process that comes back writes its own row at this moment. No wait, no deadlock.
    delete from public.workers
    where workers.worker_id = any (array(
        select stale.worker_id from public.workers as stale
        where stale.last_seen_at < statement_timestamp() - interval '10 minutes'
        for update skip locked
    ));
$$;

comment on function picture_edge.worker_seen(text, text, text, int, int, text[]) is
'Heartbeat of a process: write its row of workers, and drop those that are silent for ten minutes.';

create or replace function picture_edge.worker_gone(p_worker_id text) returns void
language sql
set search_path = ''
as $$
    delete from public.workers where workers.worker_id = p_worker_id;
$$;

comment on function picture_edge.worker_gone(text) is 'Drop the row of a process that stops in good order.';

alter table public.workers enable row level security;
revoke all on public.workers from public, anon, authenticated;
grant select, insert, update, delete on public.workers to service_role;
drop policy if exists workers_select_service on public.workers;
create policy workers_select_service on public.workers for select to service_role using (true);
revoke execute on function picture_edge.worker_seen(text, text, text, int, int, text[])
from public, anon, authenticated;
grant execute on function picture_edge.worker_seen(text, text, text, int, int, text[]) to service_role;
revoke execute on function picture_edge.worker_gone(text) from public, anon, authenticated;
grant execute on function picture_edge.worker_gone(text) to service_role;
