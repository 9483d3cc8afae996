-- queue_stats: how many jobs there are of each type and status, and how old the oldest due one is.
-- Called by   operators
-- Promises    as cheap with a million ended jobs as with none: what waits and what runs is counted by its own small
--             indexes, what has ended is added up from queue_history

create or replace view public.queue_stats with (security_invoker = true) as
with kept as (
    select coalesce(max(begins_at) + interval '1 minute', now() - interval '24 hours') as until
    from public.queue_history
    where grain = 'minute'
),

ended as (
    select
        minutes.job_type,
        each.status,
        each.jobs
    from public.queue_history as minutes
    cross join
        unnest(
            '{completed, failed, cancelled}'::text[], array[minutes.completed, minutes.failed, minutes.cancelled]
        ) as each (status, jobs)
    where minutes.grain = 'minute' and minutes.begins_at > now() - interval '24 hours'
    union all
    select
        job_queue.job_type,
        job_queue.status,
        count(*) as jobs
    from public.job_queue
    where
        job_queue.status in ('completed', 'failed', 'cancelled')
        and job_queue.completed_at >= greatest((select kept.until from kept), now() - interval '24 hours')
    group by job_queue.job_type, job_queue.status
)

select
    job_type,
    status,
    count(*) as jobs,
    count(*) filter (where scheduled_at <= clock_timestamp()) as due,
    extract(
        epoch from clock_timestamp()
        - min(scheduled_at) filter (where scheduled_at <= clock_timestamp() and isfinite(scheduled_at))
    )::float8 as oldest_due_seconds
from public.job_queue
where status = 'pending'
group by job_type, status
union all
select
    job_type,
    status,
    count(*) as jobs,
    null as due,
    null as oldest_due_seconds
from public.job_queue
where status = 'processing'
group by job_type, status
union all
select
    job_type,
    status,
    sum(jobs)::bigint as jobs,
    null as due,
    null as oldest_due_seconds
from ended
group by job_type, status
having sum(jobs) > 0;

comment on view public.queue_stats is
'Jobs by type and status: pending and processing as they are now, the others as they ended within 24 hours.';
comment on column public.queue_stats.job_type is 'The job''s type.';
comment on column public.queue_stats.status is 'The job''s status.';
comment on column public.queue_stats.jobs is
'How many there are; of completed, failed and cancelled: how many ended so within 24 hours, since redriven or not.';
comment on column public.queue_stats.due is 'Those of the pending ones whose time has come.';
comment on column public.queue_stats.oldest_due_seconds is
'Queue latency: how long the oldest due one has waited past its time; null when none is due.';

revoke all on public.queue_stats from public, anon, authenticated;
grant select on public.queue_stats to service_role;
