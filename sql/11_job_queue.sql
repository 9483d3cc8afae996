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
    errors jsonb not null default '[]'::jsonb,
    constraint job_queue_status_check check (
        status in ('pending', 'processing', 'completed', 'failed', 'cancelled')
    )
) with (fillfactor = 80); -- room for lease renewals beside the row: they touch no indexed column

-- The claim reads this one; finished rows are not in it and cost it nothing.
create index if not exists job_queue_claim_idx
on public.job_queue (priority desc, scheduled_at, id) where status = 'pending';
-- Expired leases are found among the running rows. The expiry itself is in no index, so that renewing it stays cheap.
create index if not exists job_queue_running_idx on public.job_queue (id) where status = 'processing';
create index if not exists job_queue_finished_idx
on public.job_queue (completed_at) where status in ('completed', 'failed');
create index if not exists job_queue_created_by_idx
on public.job_queue (created_by, created_at desc) where created_by is not null;

comment on table public.job_queue is 'Jobs: waiting, running and finished.';
comment on column public.job_queue.status is 'pending, processing, completed, failed; cancelled by a person.';
comment on column public.job_queue.attempt_number is 'Attempts begun. An interrupted one is taken back.';
comment on column public.job_queue.scheduled_at is 'Not to be claimed before. A retry''s backoff moves it.';
comment on column public.job_queue.lease_token is
'Fencing token: raised at each claim, never lowered, not even by a reset. Every write of a worker carries it.';
comment on column public.job_queue.lease_expires_at is
'When a running job''s worker counts as dead, unless it renews the lease before.';
comment on column public.job_queue.errors is 'Every failed attempt: [{"attempt", "at", "error"}].';
comment on column public.job_queue.error_message is 'The last attempt''s error.';
comment on column public.job_queue.created_by is 'The user whose job it is; row level security reads it.';
