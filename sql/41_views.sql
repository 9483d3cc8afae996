-- Views for operators and dashboards, and in the field variant for its app: each with the columns of both forms.
-- Rights      security_invoker: a view shows what its reader may see, so a user their own jobs

-- An earlier sql/ put its own queue_health in the place of the field variant's. Renamed, so that dependent views
-- follow.
do $$
begin
    if exists (
        select from pg_catalog.pg_attribute
        where attrelid = to_regclass('public.job_queue') and attname = 'attempts'
    ) and exists (
        select from pg_catalog.pg_attribute
        where attrelid = to_regclass('public.queue_health') and attname = 'in_flight_jobs'
    ) and to_regclass('public.queue_status') is null then
        alter view public.queue_health rename to queue_status;
    end if;
end;
$$;

create or replace view public.queue_status with (security_invoker = true) as
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
    running.parked_jobs
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
            count(*) filter (where lease_expires_at > clock_timestamp()) as in_flight_jobs,
            count(*) filter (where parked) as parked_jobs
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
    ) as paused;

comment on view public.queue_status is 'The queue in one row: waiting, running, the last hour, the clock, the pauses.';
comment on column public.queue_status.pending_jobs is 'Waiting jobs, scheduled ones included.';
comment on column public.queue_status.processing_jobs is 'Claimed jobs that have not ended.';
comment on column public.queue_status.completed_last_hour is 'Jobs completed within the last hour.';
comment on column public.queue_status.failed_last_hour is 'Jobs failed for good within the last hour.';
comment on column public.queue_status.avg_processing_time_seconds is
'From claim to completion, over the last hour''s completed jobs; null without any.';
comment on column public.queue_status.oldest_pending_seconds is
'Queue latency: how long the oldest due job has waited past its time; null when none is due.';
comment on column public.queue_status.in_flight_jobs is 'Those of processing_jobs whose worker still holds its lease.';
comment on column public.queue_status.scheduled_jobs is
'Those of pending_jobs whose time has not come: delayed or backing off.';
comment on column public.queue_status.failed_jobs is 'Failed jobs, the dead letters: kept until redriven or purged.';
comment on column public.queue_status.seconds_since_last_tick is
'Heartbeat: since the clock last called process-jobs; null when it never did.';
comment on column public.queue_status.parked_jobs is
'Those of processing_jobs whose prediction runs at the provider: no worker holds them.';
comment on column public.queue_status.paused_types is 'Job types held back by pause_queue; * is all. Null when none.';

create or replace view public.unrecognised_failures with (security_invoker = true) as
select
    model,
    error_message,
    count(*) as failures,
    min(ended_at) as first_at,
    max(ended_at) as last_at
from (
    select
        model,
        left(error_message, 200) as error_message,
        ended_at
    from public.predictions
    where status = 'failed' and error_class = 'model_failed' and ended_at > now() - interval '7 days'
) as failed
group by model, error_message
order by failures desc, last_at desc;

comment on view public.unrecognised_failures is
'Texts of predictions that failed within a week as model_failed, the most frequent first: content filters or busy
services among them belong into failure_table.py.';
comment on column public.unrecognised_failures.model is 'owner/name.';
comment on column public.unrecognised_failures.error_message is 'The first 200 characters, without credentials.';
comment on column public.unrecognised_failures.failures is 'How many predictions failed with that text.';
comment on column public.unrecognised_failures.first_at is 'The first of them.';
comment on column public.unrecognised_failures.last_at is 'The last of them.';
revoke all on public.unrecognised_failures from public, anon, authenticated;
grant select on public.unrecognised_failures to service_role;

-- The other views begin with the columns that the database has had, so that dependent views stay valid. A view with
-- other columns is dropped and made anew, and its readers may read the new one; a view that depends on it stops the
-- upgrade.
do $do$
declare
    v_field_variant boolean := exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.job_queue'::regclass and attname = 'attempts'
    );
    v_view record;
    v_reader name;
    v_readers name[];
begin
    for v_view in
        select wanted.name, case when v_field_variant then wanted.field_variant else wanted.documented end as definition
        from (values
            ('queue_health', 'select * from public.queue_status', $view$
                select
                    job_type,
                    status,
                    count(*) as count,
                    min(created_at) as oldest_job,
                    max(created_at) as newest_job,
                    avg(extract(epoch from completed_at - started_at)) as avg_duration_seconds,
                    avg(attempt_number) as avg_attempts
                from public.job_queue
                group by job_type, status
            $view$),
            ('failed_jobs_recent', $view$
                select
                    id, job_type, error_message, attempt_number, max_attempts, created_at, updated_at, completed_at,
                    errors, payload, worker_id, attempt_number as attempts
                from public.job_queue
                where status = 'failed' and completed_at > now() - interval '24 hours'
                order by completed_at desc
            $view$, $view$
                select
                    id, job_type, payload, attempt_number as attempts, error_message, created_at, completed_at,
                    attempt_number, max_attempts, updated_at, errors, worker_id
                from public.job_queue
                where status = 'failed' and completed_at > now() - interval '24 hours'
                order by completed_at desc
            $view$),
            ('stuck_jobs', $view$
                select
                    id, job_type, status, attempt_number, max_attempts, created_at, started_at, updated_at,
                    worker_id, lease_expires_at, payload, attempt_number as attempts,
                    extract(epoch from now() - least(started_at, updated_at)) / 60 as minutes_stuck
                from public.job_queue
                where status = 'processing' and least(started_at, updated_at) < now() - interval '10 minutes'
                order by started_at
            $view$, $view$
                select
                    id, job_type, payload, started_at,
                    extract(epoch from now() - least(started_at, updated_at)) / 60 as minutes_stuck,
                    status, attempt_number, max_attempts, created_at, updated_at, worker_id, lease_expires_at,
                    attempt_number as attempts
                from public.job_queue
                where status = 'processing' and least(started_at, updated_at) < now() - interval '10 minutes'
                order by started_at
            $view$)
        ) as wanted (name, documented, field_variant)
    loop
        -- Readers of either of the two may read both: the documented queue_health selects from queue_status.
        v_readers := array(
            select distinct pg_roles.rolname
            from pg_catalog.pg_class
            cross join aclexplode(pg_class.relacl) as given
            inner join pg_catalog.pg_roles on pg_roles.oid = given.grantee
            where given.privilege_type = 'SELECT' and pg_roles.rolname not in ('anon', 'authenticated')
                and pg_class.relnamespace = 'public'::regnamespace
                and pg_class.relname in (v_view.name, case v_view.name when 'queue_health' then 'queue_status' end)
        );
        v_view.definition := format(
            'create or replace view public.%I with (security_invoker = true) as %s', v_view.name, v_view.definition
        );
        begin
            execute v_view.definition;
        exception when invalid_table_definition then -- other columns, or other types of columns
            execute format('drop view public.%I', v_view.name);
            execute v_view.definition;
        end;
        foreach v_reader in array v_readers loop
            execute format('grant select on public.%I to %I', v_view.name, v_reader);
            if v_view.name = 'queue_health' then
                execute format('grant select on public.queue_status to %I', v_reader);
            end if;
        end loop;
    end loop;

    execute format('comment on view public.queue_health is %L', case
        when v_field_variant then 'The queue by type and status, as in the field variant. Ours is queue_status.'
        else 'queue_status under the original''s name.'
    end);
    for v_view in
        select pg_attribute.attname as name, coalesce(described.it, col_description(
            'public.queue_status'::regclass,
            (
                select same.attnum from pg_catalog.pg_attribute as same
                where same.attrelid = 'public.queue_status'::regclass and same.attname = pg_attribute.attname
            )
        )) as definition
        from pg_catalog.pg_attribute
        left join (values
            ('job_type', 'The type.'),
            ('status', 'The status.'),
            ('count', 'How many jobs there are of both.'),
            ('oldest_job', 'When the oldest was enqueued.'),
            ('newest_job', 'When the newest was enqueued.'),
            ('avg_duration_seconds', 'From the newest claim to the end, on average; null where none has ended.'),
            ('avg_attempts', 'Attempts begun, on average.')
        ) as described (name, it) on described.name = pg_attribute.attname
        where pg_attribute.attrelid = 'public.queue_health'::regclass and pg_attribute.attnum > 0
    loop
        execute format('comment on column public.queue_health.%I is %L', v_view.name, v_view.definition);
    end loop;

    revoke all on public.queue_status, public.queue_health, public.failed_jobs_recent, public.stuck_jobs
    from public, anon, authenticated;
    grant select on public.queue_status, public.queue_health, public.failed_jobs_recent, public.stuck_jobs
    to service_role;
    if v_field_variant then -- its app reads them with the user's token: once everybody's jobs, now the user's own
        grant select on public.queue_health, public.failed_jobs_recent, public.stuck_jobs to authenticated;
    end if;
end;
$do$;

comment on view public.failed_jobs_recent is 'Jobs that failed for good within 24 hours, the newest first.';
comment on column public.failed_jobs_recent.id is 'The job''s id, for redrive_job.';
comment on column public.failed_jobs_recent.job_type is 'The job''s type.';
comment on column public.failed_jobs_recent.error_message is 'The last attempt''s error.';
comment on column public.failed_jobs_recent.attempt_number is 'Attempts made.';
comment on column public.failed_jobs_recent.max_attempts is 'Attempts allowed.';
comment on column public.failed_jobs_recent.created_at is 'When the job was enqueued.';
comment on column public.failed_jobs_recent.updated_at is 'When the row last changed.';
comment on column public.failed_jobs_recent.completed_at is 'When the job failed.';
comment on column public.failed_jobs_recent.errors is 'Every attempt''s error.';
comment on column public.failed_jobs_recent.payload is 'The handler''s input.';
comment on column public.failed_jobs_recent.worker_id is 'The process of the last claim.';
comment on column public.failed_jobs_recent.attempts is 'attempt_number, as the field variant calls it.';

comment on view public.stuck_jobs is
'Jobs processing for more than ten minutes. With lease_expires_at in the future the worker lives, and the job is slow.';
comment on column public.stuck_jobs.id is 'The job''s id, for a reset or cancel_job.';
comment on column public.stuck_jobs.job_type is 'The job''s type.';
comment on column public.stuck_jobs.status is 'Always processing.';
comment on column public.stuck_jobs.attempt_number is 'The attempt under way.';
comment on column public.stuck_jobs.max_attempts is 'Attempts allowed.';
comment on column public.stuck_jobs.created_at is 'When the job was enqueued.';
comment on column public.stuck_jobs.started_at is 'When this attempt was claimed.';
comment on column public.stuck_jobs.updated_at is 'When the row last changed, lease renewals included.';
comment on column public.stuck_jobs.worker_id is 'The process that has the job.';
comment on column public.stuck_jobs.lease_expires_at is 'When the job''s worker counts as dead.';
comment on column public.stuck_jobs.payload is 'The handler''s input.';
comment on column public.stuck_jobs.attempts is 'attempt_number, as the field variant calls it.';
comment on column public.stuck_jobs.minutes_stuck is
'Since the attempt was claimed, or the row last changed if that was before, in minutes.';
