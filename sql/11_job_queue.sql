-- job_queue: the jobs. The original's columns first, then the field variant's, then the lease.
-- complete_manual_change: completes an operator's plain UPDATE.

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
    parked boolean not null default false,
    constraint job_queue_status_check check (
        status in ('pending', 'processing', 'completed', 'failed', 'cancelled')
    )
);

alter table public.job_queue
add column if not exists share_rank bigint not null default 0,
add column if not exists error_details jsonb,
add column if not exists parked boolean not null default false;

alter table public.job_queue set (
    fillfactor = 80, -- HOT updates: a lease renewal touches no indexed column, and finds room on its page
    autovacuum_vacuum_scale_factor = 0.02, -- a queue's dead rows lie where the next claim scans
    autovacuum_analyze_scale_factor = 0.02
);

-- Time-ordered ids (UUID version 7): each of a job's three row versions enters the primary key, and beside a million
-- finished jobs random ids would touch, and log, a different page for each. Half-empty leaves have room for all three.
alter index public.job_queue_pkey set (fillfactor = 50);
do $$
begin
    if current_setting('server_version_num')::int >= 180000 then
        alter table public.job_queue alter column id set default uuidv7();
    else -- milliseconds since 1970 over the first 48 bits of a random UUID, and version 7 for its 4
        alter table public.job_queue alter column id set default encode(
            set_bit(set_bit(overlay(
                uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6
            ), 52, 1), 53, 1),
            'hex'
        )::uuid;
    end if;
end;
$$;

-- A lane is a job type at a priority: jobs without a rank in order of age, then ranked jobs, which are all due. A claim
-- reads the due heads only, so that finished, future and paused jobs and those of other workers cost it nothing.
create index if not exists job_queue_share_lane_idx
on public.job_queue (job_type, priority desc, share_rank, scheduled_at, id) where status = 'pending';
drop index if exists public.job_queue_lane_idx; -- of an earlier sql/, without ranks
-- A user's highest rank in a lane, for enqueue_job.
create index if not exists job_queue_user_share_idx
on public.job_queue (created_by, job_type, priority, share_rank) where status = 'pending' and share_rank > 0;
-- Suspects, none as a rule: jobs that two workers have died with. Backfill, once: those of before the mark was kept.
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
drop index if exists public.job_queue_claim_idx; -- of an earlier sql/, without lanes
-- Expired leases are found among the running rows, from a random key on: by hash, as ids are in order of time. No index
-- has the expiry or parked, so that writing them stays HOT.
create index if not exists job_queue_running_hash_idx on public.job_queue (uuid_hash(id)) where status = 'processing';
drop index if exists public.job_queue_running_idx; -- of an earlier sql/, by random ids
create index if not exists job_queue_ended_idx
on public.job_queue (completed_at) where status in ('completed', 'failed', 'cancelled');
drop index if exists public.job_queue_finished_idx; -- of an earlier sql/, without cancelled jobs
create index if not exists job_queue_failed_idx
on public.job_queue (completed_at, id) where status = 'failed';
create index if not exists job_queue_created_by_idx
on public.job_queue (created_by, created_at desc) where created_by is not null;
create unique index if not exists job_queue_dedupe_idx
on public.job_queue (job_type, dedupe_key)
where dedupe_key is not null and status in ('pending', 'processing');

comment on table public.job_queue is 'Jobs: waiting, running and ended.';
comment on column public.job_queue.id is 'The job''s id, given by enqueue_job.';
comment on column public.job_queue.job_type is
'The handler that runs the job: generate-image, download-image or one of yours.';
comment on column public.job_queue.payload is 'The handler''s input: a JSON object.';
comment on column public.job_queue.status is 'pending, processing, completed, failed, cancelled.';
comment on column public.job_queue.priority is
'Higher runs first; ageing against starvation: ten minutes of waiting count as much as one point.';
comment on column public.job_queue.attempt_number is
'Attempts begun. An attempt that was interrupted, or that the provider asked to delay, is not counted.';
comment on column public.job_queue.max_attempts is 'After this many failed attempts the job is failed.';
comment on column public.job_queue.result is 'The completed attempt''s result.';
comment on column public.job_queue.error_message is 'The last attempt''s error.';
comment on column public.job_queue.error_details is
'p_error_details of the last attempt''s complete_job, as in the field variant.';
comment on column public.job_queue.created_at is 'When the job was enqueued.';
comment on column public.job_queue.updated_at is
'When the row last changed; lease renewals count, so an old time of a running job means that no worker has it.';
comment on column public.job_queue.completed_at is 'When the job ended: completed, failed or cancelled.';
comment on column public.job_queue.scheduled_at is 'Earliest time of a claim. A retry''s backoff moves it.';
comment on column public.job_queue.started_at is 'When the newest attempt was claimed.';
comment on column public.job_queue.created_by is 'The owner, a user; row level security compares it with the caller.';
comment on column public.job_queue.worker_id is 'The process of the last claim.';
comment on column public.job_queue.lease_token is
'Fencing token: raised at each claim, never lowered, not even by a reset. Every write of a worker carries it.';
comment on column public.job_queue.lease_expires_at is
'End of the lease: when a running job''s worker counts as dead, unless it renews before.';
comment on column public.job_queue.parked is
'Whether a processing job waits for its prediction at the provider: no worker holds it, and its lease outlasts the
prediction. Its poller, its webhook or an expired lease takes it up again.';
comment on column public.job_queue.crash_count is
'Workers that died while they had the job. After two it is a suspected poison message and runs alone; if a worker dies
then, the job is failed as poisonous. Only redrive_job resets the count.';
comment on column public.job_queue.errors is
'The newest 100 failed attempts: [{"attempt", "at", "class", "text"}], each with the lease_token it ended under.';
comment on column public.job_queue.share_rank is
'Fair queueing: the job''s turn among those of its type and priority, one more for each job of the same user that waits
before it. 0 for a job without a user, a delayed job and a retry: those go by age. Below 0 for a suspect, a job that two
workers have died with, which runs alone: -2 once it has begun to.';
comment on column public.job_queue.dedupe_key is
'Deduplication: at most one pending or processing job of a type has a key; enqueue_job returns its id.';

-- An UPDATE of the status alone, by an operator in psql, revives, ends or cancels a job: the other columns are filled
-- in. Workers' statements write all of them, and never meet this trigger's condition.
create or replace function picture_edge.complete_manual_change() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.completed_at := case
        when new.status in ('completed', 'failed', 'cancelled') then coalesce(new.completed_at, clock_timestamp())
    end;
    new.lease_expires_at := case
        -- An operator renews no lease: ten minutes, as claim_next_job by hand, and not a worker's lease.
        when new.status = 'processing' then coalesce(new.lease_expires_at, clock_timestamp() + interval '10 minutes')
    end;
    if new.status = 'processing' and old.status <> 'processing' then
        new.lease_token := old.lease_token + 1; -- fences the former worker off
    end if;
    new.parked := new.parked and new.status = 'processing';
    if new.status = 'pending' then -- back to where it stood, before what is read out
        begin
            perform nextval('picture_edge.lane_changes'); -- sql/23_lanes.sql
        exception when insufficient_privilege then
            null; -- a role of the project's own: seen a second later
        end;
    end if;
    if row_security_active('public.job_queue') then -- a client's cancel: its timestamp is not trusted
        new.updated_at := clock_timestamp();
    end if;
    return new;
end;
$$;

comment on function picture_edge.complete_manual_change() is
'Trigger: keep completed_at, lease_expires_at, lease_token and parked in step with a status written by hand.';

create or replace trigger complete_manual_change
before insert or update of status, completed_at, lease_expires_at, parked on public.job_queue
for each row
when (
    (new.completed_at is not null) <> (new.status in ('completed', 'failed', 'cancelled'))
    or (new.lease_expires_at is not null) <> (new.status = 'processing')
    or (new.parked and new.status <> 'processing')
)
execute function picture_edge.complete_manual_change();

revoke execute on function picture_edge.complete_manual_change() from public, anon, authenticated;
