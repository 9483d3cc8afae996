-- Views for operators and dashboards.

create or replace view public.queue_health with (security_invoker = true) as
select
    waiting.pending_jobs,
    running.processing_jobs,
    recent.completed_last_hour,
    recent.failed_last_hour,
    recent.avg_processing_time_seconds
from (
    select count(*) as pending_jobs
    from public.job_queue
    where status = 'pending'
) as waiting,
    (
        select count(*) as processing_jobs
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
        where status in ('completed', 'failed') and completed_at > now() - interval '1 hour'
    ) as recent;

comment on view public.queue_health is 'The queue in one row: waiting, running, and the last hour.';

revoke all on public.queue_health from public, anon, authenticated;
grant select on public.queue_health to service_role;
