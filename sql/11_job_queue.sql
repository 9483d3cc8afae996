-- job_queue: the work to do. The original's columns first, then the field variant's, then the lease.

create table if not exists public.job_queue (
    id uuid primary key default gen_random_uuid(),
    job_type text not null,
    payload jsonb not null default '{}'::jsonb,
    status text not null default 'pending',
    priority int not null default 0,
    attempt_number int not null default 0,
    max_attempts int not null default 3,
    result jsonb,
    error_message text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    completed_at timestamptz,
    scheduled_at timestamptz not null default now(),
    started_at timestamptz,
    created_by uuid,
    worker_id text,
    lease_token bigint not null default 0,
    lease_expires_at timestamptz,
    crash_count int not null default 0,
    errors jsonb not null default '[]'::jsonb,
    dedupe_key text,
    share_rank bigint not null default 0,
    error_details jsonb,
    constraint job_queue_status_check check (
        status in ('pending', 'processing', 'completed', 'failed', 'cancelled')
    )
);

alter table public.job_queue
add column if not exists share_rank bigint not null default 0,
add column if not exists error_details jsonb;

alter table public.job_queue set (
    fillfactor = 80, -- room for lease renewals beside the row: they touch no indexed column
    autovacuum_vacuum_scale_factor = 0.02, -- a queue's dead rows lie where the next claim looks
    autovacuum_analyze_scale_factor = 0.02
);

-- Each type and priority is a lane: those without a rank in order of age, then those with one, all of them due. The
-- claim reads the due heads, so that what is finished, future, paused or another worker's costs it nothing.
create index if not exists job_queue_share_lane_idx
on public.job_queue (job_type, priority desc, share_rank, scheduled_at, id) where status = 'pending';
drop index if exists public.job_queue_lane_idx; -- an earlier one of ours, without ranks
-- A user's newest rank in a lane.
create index if not exists job_queue_user_share_idx
on public.job_queue (created_by, job_type, priority, share_rank) where status = 'pending' and share_rank > 0;
-- Those that two workers have died with, none as a rule. Jobs that came so far before this was kept are among them.
do $$
begin
    if to_regclass('public.job_queue_suspect_idx') is null then
        update public.job_queue set share_rank = -1
        where job_queue.crash_count >= 2 and job_queue.status in ('pending', 'failed', 'cancelled');
    end if;
end;
$$;
create index if not exists job_queue_suspect_idx
on public.job_queue (scheduled_at, id) where status = 'pending' and share_rank < 0;
drop index if exists public.job_queue_claim_idx; -- an earlier one of ours, without lanes
-- Expired leases are found among the running rows. The expiry itself is in no index, so that renewing it stays cheap.
create index if not exists job_queue_running_idx on public.job_queue (id) where status = 'processing';
create index if not exists job_queue_ended_idx
on public.job_queue (completed_at) where status in ('completed', 'failed', 'cancelled');
drop index if exists public.job_queue_finished_idx; -- an earlier one of ours, without the cancelled
create index if not exists job_queue_failed_idx
on public.job_queue (completed_at, id) where status = 'failed';
create index if not exists job_queue_created_by_idx
on public.job_queue (created_by, created_at desc) where created_by is not null;
create unique index if not exists job_queue_dedupe_idx
on public.job_queue (job_type, dedupe_key)
where dedupe_key is not null and status in ('pending', 'processing');

comment on table public.job_queue is 'Jobs: waiting, running and ended.';
comment on column public.job_queue.id is 'The job''s id, given by enqueue_job.';
comment on column public.job_queue.job_type is 'Which handler runs it: generate-image, download-image or one of yours.';
comment on column public.job_queue.payload is 'What the handler gets: a JSON object.';
comment on column public.job_queue.status is 'pending, processing, completed, failed, cancelled.';
comment on column public.job_queue.priority is
'Higher runs first; ten minutes of waiting count as much as one point, so that none starves.';
comment on column public.job_queue.attempt_number is
'Attempts begun. An interrupted one, or one the provider asked to delay, is taken back.';
comment on column public.job_queue.max_attempts is 'After this many failed attempts the job is failed.';
comment on column public.job_queue.result is 'What the completed attempt returned.';
comment on column public.job_queue.error_message is 'The last attempt''s error.';
comment on column public.job_queue.error_details is
'What the last attempt''s caller of complete_job gave as p_error_details, as in the field variant.';
comment on column public.job_queue.created_at is 'When it was enqueued.';
comment on column public.job_queue.updated_at is
'When it last changed; a running job''s renewals count, so an old time means that nobody works on it.';
comment on column public.job_queue.completed_at is 'When it ended: completed, failed or cancelled.';
comment on column public.job_queue.scheduled_at is 'Not to be claimed before. A retry''s backoff moves it.';
comment on column public.job_queue.started_at is 'When the newest attempt was claimed.';
comment on column public.job_queue.created_by is 'The user whose job it is; row level security reads it.';
comment on column public.job_queue.worker_id is 'The process that claimed it last.';
comment on column public.job_queue.lease_token is
'Fencing token: raised at each claim, never lowered, not even by a reset. Every write of a worker carries it.';
comment on column public.job_queue.lease_expires_at is
'When a running job''s worker counts as dead, unless it renews the lease before.';
comment on column public.job_queue.crash_count is
'Workers that stopped answering while they had it. After two it runs alone, and if a worker dies of it then it is failed
as poisonous; only redrive_job forgets.';
comment on column public.job_queue.errors is
'The newest 100 failed attempts: [{"attempt", "at", "class", "text"}], with the lease_token they were ended under.';
comment on column public.job_queue.share_rank is
'How many jobs of the same user, type and priority were before it, counted from the least waiting one''s: the order in
which users take turns. 0 for a job without a user, with a time of its own, or that is tried again: those go by age.
Below 0 for one that two workers have died with, which runs alone: -2 once it has begun to.';
comment on column public.job_queue.dedupe_key is
'At most one pending or processing job of a type has it; enqueue_job returns that one''s id instead of a second.';

-- What a person writes in psql may say less than a worker's statement. The rest is filled in, so that an UPDATE of
-- nothing but the status revives, ends or cancels a job; workers' own statements never meet this trigger's condition.
create or replace function public.complete_manual_change() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.completed_at := case
        when new.status in ('completed', 'failed', 'cancelled') then coalesce(new.completed_at, clock_timestamp())
    end;
    new.lease_expires_at := case
        when new.status = 'processing' then coalesce(new.lease_expires_at, clock_timestamp() + interval '10 minutes')
    end;
    if new.status = 'processing' and old.status <> 'processing' then
        new.lease_token := old.lease_token + 1; -- who had the job before has lost it
    end if;
    if row_security_active('public.job_queue') then -- a client, which cancels: its clock may say anything, even infinity
        new.updated_at := clock_timestamp();
    end if;
    return new;
end;
$$;

comment on function public.complete_manual_change() is
'Trigger: keep completed_at, lease_expires_at and lease_token in step with a status written by hand.';

create or replace trigger complete_manual_change
before insert or update of status, completed_at, lease_expires_at on public.job_queue
for each row
when (
    (new.completed_at is not null) <> (new.status in ('completed', 'failed', 'cancelled'))
    or (new.lease_expires_at is not null) <> (new.status = 'processing')
)
execute function public.complete_manual_change();

revoke execute on function public.complete_manual_change() from public, anon, authenticated;
