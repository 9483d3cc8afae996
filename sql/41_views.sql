-- Views for operators and dashboards. The first columns are the original's.

create or replace view public.queue_health with (security_invoker = true) as
select
    waiting.pending_jobs,
    running.processing_jobs,
    recent.completed_last_hour,
    recent.failed_last_hour,
    recent.avg_processing_time_seconds,
    waiting.oldest_pending_seconds,
    running.in_flight_jobs,
    waiting.scheduled_jobs,
    dead.failed_jobs,
    tick.seconds_since_last_tick,
    paused.paused_types,
    parked.parked_jobs
from (
    select
        count(*) as pending_jobs,
        count(*) filter (where scheduled_at > clock_timestamp()) as scheduled_jobs,
        extract(
            epoch from clock_timestamp()
            - min(scheduled_at) filter (where scheduled_at <= clock_timestamp() and isfinite(scheduled_at))
        )::float8 as oldest_pending_seconds
    from public.job_queue
    where status = 'pending'
) as waiting,
    (
        select
            count(*) as processing_jobs,
            count(*) filter (where lease_expires_at > clock_timestamp()) as in_flight_jobs
        from public.job_queue
        where status = 'processing'
    ) as running,
    (
        select
            count(*) filter (where status = 'completed') as completed_last_hour,
            count(*) filter (where status = 'failed') as failed_last_hour,
            avg(extract(epoch from completed_at - started_at)) filter (where status = 'completed')
                as avg_processing_time_seconds
        from public.job_queue
        where status in ('completed', 'failed', 'cancelled') and completed_at > now() - interval '1 hour'
    ) as recent,
    (
        select count(*) as failed_jobs
        from public.job_queue
        where status = 'failed'
    ) as dead,
    (
        select extract(epoch from clock_timestamp() - max(ticked_at))::float8 as seconds_since_last_tick
        from public.cron_ticks
    ) as tick,
    (
        select array_agg(job_type order by job_type) as paused_types
        from public.paused_queues
    ) as paused,
    (
        select count(*) as parked_jobs
        from public.predictions
        where status = 'running'
    ) as parked;

comment on view public.queue_health is 'The queue in one row: waiting, running, the last hour, the clock, the pauses.';
comment on column public.queue_health.pending_jobs is 'Waiting, scheduled ones included.';
comment on column public.queue_health.processing_jobs is 'Claimed and not ended.';
comment on column public.queue_health.completed_last_hour is 'Completed within the last hour.';
comment on column public.queue_health.failed_last_hour is 'Failed for good within the last hour.';
comment on column public.queue_health.avg_processing_time_seconds is
'From claim to completion, over the last hour''s completed jobs; null without any.';
comment on column public.queue_health.oldest_pending_seconds is
'How long the oldest due job has waited past its time; null when none is due.';
comment on column public.queue_health.in_flight_jobs is 'Those of processing_jobs whose worker still holds its lease.';
comment on column public.queue_health.scheduled_jobs is
'Those of pending_jobs whose time has not come: delayed or backing off.';
comment on column public.queue_health.failed_jobs is 'Failed and kept, until redriven or purged.';
comment on column public.queue_health.seconds_since_last_tick is
'Since the clock last called process-jobs; null when it never did.';
comment on column public.queue_health.parked_jobs is
'Those of in_flight_jobs whose prediction runs at the provider: no worker holds them.';
comment on column public.queue_health.paused_types is 'Job types held back by pause_queue; * is all. Null when none.';

create or replace view public.failed_jobs_recent with (security_invoker = true) as
select
    id,
    job_type,
    error_message,
    attempt_number,
    max_attempts,
    created_at,
    updated_at,
    completed_at,
    errors,
    payload,
    worker_id
from public.job_queue
where status = 'failed' and completed_at > now() - interval '24 hours'
order by completed_at desc;

comment on view public.failed_jobs_recent is 'Jobs that failed for good within 24 hours, the newest first.';
comment on column public.failed_jobs_recent.id is 'For redrive_job.';
comment on column public.failed_jobs_recent.job_type is 'Its type.';
comment on column public.failed_jobs_recent.error_message is 'The last attempt''s error.';
comment on column public.failed_jobs_recent.attempt_number is 'Attempts made.';
comment on column public.failed_jobs_recent.max_attempts is 'Attempts allowed.';
comment on column public.failed_jobs_recent.created_at is 'When it was enqueued.';
comment on column public.failed_jobs_recent.updated_at is 'When it last changed.';
comment on column public.failed_jobs_recent.completed_at is 'When it failed.';
comment on column public.failed_jobs_recent.errors is 'Every attempt''s error.';
comment on column public.failed_jobs_recent.payload is 'What the handler got.';
comment on column public.failed_jobs_recent.worker_id is 'The process that had it last.';

create or replace view public.stuck_jobs with (security_invoker = true) as
select
    id,
    job_type,
    status,
    attempt_number,
    max_attempts,
    created_at,
    started_at,
    updated_at,
    worker_id,
    lease_expires_at,
    payload
from public.job_queue
where status = 'processing' and least(started_at, updated_at) < now() - interval '10 minutes'
order by started_at;

comment on view public.stuck_jobs is
'Jobs processing for more than ten minutes. With a lease in the future their worker lives, and they are only slow.';
comment on column public.stuck_jobs.id is 'For release by a reset, or cancel_job.';
comment on column public.stuck_jobs.job_type is 'Its type.';
comment on column public.stuck_jobs.status is 'Always processing.';
comment on column public.stuck_jobs.attempt_number is 'The attempt under way.';
comment on column public.stuck_jobs.max_attempts is 'Attempts allowed.';
comment on column public.stuck_jobs.created_at is 'When it was enqueued.';
comment on column public.stuck_jobs.started_at is 'When this attempt was claimed.';
comment on column public.stuck_jobs.updated_at is 'When it last changed, renewals included.';
comment on column public.stuck_jobs.worker_id is 'The process that has it.';
comment on column public.stuck_jobs.lease_expires_at is 'When its worker counts as dead.';
comment on column public.stuck_jobs.payload is 'What the handler got.';

revoke all on public.queue_health, public.failed_jobs_recent, public.stuck_jobs from public, anon, authenticated;
grant select on public.queue_health, public.failed_jobs_recent, public.stuck_jobs to service_role;
