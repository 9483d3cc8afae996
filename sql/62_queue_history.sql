-- queue_history: what the queue did, each minute for 48 hours, each hour for 30 days. keep_queue_history writes it.
-- Called by   functions/process_jobs/presence.py, each minute; purge_jobs, before it deletes
-- Promises    derived from ended jobs once their minute is over, so that an end costs nothing more; each call does
--             a bounded part; one process at a time, and no process waits for another
--
-- Times are kept as counts in buckets, each a tenth above the one below (a log-linear histogram): such counts add up,
-- minutes to hours, and a percentile of the sum is as good as one of the jobs, within 5 %. Percentiles do not add up.

create table if not exists public.queue_history (
    grain text not null,
    begins_at timestamptz not null,
    job_type text not null,
    completed int not null,
    failed int not null,
    cancelled int not null,
    failures jsonb not null default '{}',
    wait_p50 float8,
    wait_p95 float8,
    wait_p99 float8,
    work_p50 float8,
    work_p95 float8,
    work_p99 float8,
    wait_counts jsonb not null default '{}',
    work_counts jsonb not null default '{}',
    primary key (grain, begins_at, job_type),
    constraint queue_history_grain_check check (grain in ('minute', 'hour'))
);

comment on table public.queue_history is
'What ended in each minute of 48 hours and in each hour of 30 days, by type. A minute is there once it is over for a
minute; one without an end has no row.';
comment on column public.queue_history.grain is 'minute or hour.';
comment on column public.queue_history.begins_at is 'The minute''s, or the hour''s, begin.';
comment on column public.queue_history.job_type is 'The job''s type.';
comment on column public.queue_history.completed is 'Jobs completed within it.';
comment on column public.queue_history.failed is
'Jobs failed for good within it; also those that were redriven, and so have left job_queue''s failures.';
comment on column public.queue_history.cancelled is 'Jobs cancelled within it.';
comment on column public.queue_history.failures is 'The failed ones by the class of their last error: {"filtered": 3}.';
comment on column public.queue_history.wait_p50 is
'Half of them waited no longer than this, in seconds: from their due time to the claim of the last attempt.';
comment on column public.queue_history.wait_p95 is 'The same of 95 in 100.';
comment on column public.queue_history.wait_p99 is 'The same of 99 in 100.';
comment on column public.queue_history.work_p50 is
'Half of the last attempts took no longer than this, in seconds: from the claim to the end, the provider included.';
comment on column public.queue_history.work_p95 is 'The same of 95 in 100.';
comment on column public.queue_history.work_p99 is 'The same of 99 in 100.';
comment on column public.queue_history.wait_counts is
'Histogram of the waits: {"bucket": jobs}; bucket n is up to 1.1 ^ n seconds, -80 half a millisecond or less.';
comment on column public.queue_history.work_counts is 'Histogram of the attempts, in the same buckets.';

create or replace function picture_edge.time_bucket(p_seconds float8) returns int
language sql
immutable
set search_path = ''
as $$
    select greatest(-80, ceil(ln(greatest(p_seconds, 0.0001)) / ln(1.1)))::int;
$$;

comment on function picture_edge.time_bucket(float8) is
'The bucket of a time: the smallest n with p_seconds <= 1.1 ^ n, from -80 on.';

create or replace function picture_edge.percentiles(p_counts jsonb) returns float8[]
language sql
immutable
set search_path = ''
as $$
    with buckets as (
        select
            each.key::int as bucket,
            sum(each.value::bigint) over (order by each.key::int) as until,
            sum(each.value::bigint) over () as total
        from jsonb_each_text(p_counts) as each
    )
    select array_agg(found.seconds order by wanted.part)
    from unnest('{0.5, 0.95, 0.99}'::float8[]) as wanted (part)
    left join lateral (
        select 1.1 ^ (buckets.bucket - 0.5) as seconds -- the middle of the bucket
        from buckets
        where buckets.until >= wanted.part * buckets.total
        order by buckets.bucket
        limit 1
    ) as found on true;
$$;

comment on function picture_edge.percentiles(jsonb) is
'{p50, p95, p99} in seconds of a histogram of queue_history, within 5 %; nulls of an empty one.';

create or replace function picture_edge.added(p_counts jsonb[]) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select coalesce(jsonb_object_agg(sums.key, sums.total), '{}')
    from (
        select each.key, sum(each.value::bigint) as total
        from unnest(p_counts) as one (counts)
        cross join jsonb_each_text(one.counts) as each
        group by each.key
    ) as sums;
$$;

comment on function picture_edge.added(jsonb[]) is 'The sum of counts by name: {"a": 1} and {"a": 2} are {"a": 3}.';

create or replace function picture_edge.keep_minutes(p_from timestamptz, p_until timestamptz) returns void
language sql
set search_path = ''
as $$
    with ended as (
        select
            date_trunc('minute', job_queue.completed_at) as begins_at,
            job_queue.job_type,
            job_queue.status,
            case when job_queue.status = 'failed'
                then coalesce(job_queue.errors #>> '{-1, class}', 'unknown') end as class,
            -- An attempt that began, by a time that is one: plain SQL may write anything.
            case when isfinite(job_queue.started_at) and job_queue.status <> 'cancelled'
                then picture_edge.time_bucket(extract(epoch from
                    job_queue.started_at
                    - least(job_queue.started_at, greatest(job_queue.scheduled_at, job_queue.created_at))
                )::float8) end as wait,
            case when isfinite(job_queue.started_at) and job_queue.status <> 'cancelled'
                then picture_edge.time_bucket(
                    extract(epoch from job_queue.completed_at - job_queue.started_at)::float8
                ) end as work
        from public.job_queue
        where job_queue.status in ('completed', 'failed', 'cancelled')
            and job_queue.completed_at >= p_from and job_queue.completed_at < p_until
    ),
    -- One pass over the jobs, then over some hundred groups.
    counted as materialized (
        select ended.begins_at, ended.job_type, ended.status, ended.class, ended.wait, ended.work, count(*) as jobs
        from ended
        group by ended.begins_at, ended.job_type, ended.status, ended.class, ended.wait, ended.work
    ),
    histograms as (
        select
            minutes.*,
            (
                select coalesce(jsonb_object_agg(classes.class, classes.jobs), '{}')
                from (
                    select counted.class, sum(counted.jobs) as jobs from counted
                    where counted.begins_at = minutes.begins_at and counted.job_type = minutes.job_type
                        and counted.class is not null
                    group by counted.class
                ) as classes
            ) as failures,
            (
                select coalesce(jsonb_object_agg(buckets.wait, buckets.jobs), '{}')
                from (
                    select counted.wait, sum(counted.jobs) as jobs from counted
                    where counted.begins_at = minutes.begins_at and counted.job_type = minutes.job_type
                        and counted.wait is not null
                    group by counted.wait
                ) as buckets
            ) as waits,
            (
                select coalesce(jsonb_object_agg(buckets.work, buckets.jobs), '{}')
                from (
                    select counted.work, sum(counted.jobs) as jobs from counted
                    where counted.begins_at = minutes.begins_at and counted.job_type = minutes.job_type
                        and counted.work is not null
                    group by counted.work
                ) as buckets
            ) as works
        from (
            select
                counted.begins_at,
                counted.job_type,
                coalesce(sum(counted.jobs) filter (where counted.status = 'completed'), 0) as completed,
                coalesce(sum(counted.jobs) filter (where counted.status = 'failed'), 0) as failed,
                coalesce(sum(counted.jobs) filter (where counted.status = 'cancelled'), 0) as cancelled
            from counted
            group by counted.begins_at, counted.job_type
        ) as minutes
    )
    insert into public.queue_history (
        grain, begins_at, job_type, completed, failed, cancelled, failures,
        wait_p50, wait_p95, wait_p99, work_p50, work_p95, work_p99, wait_counts, work_counts
    )
    select
        'minute', histograms.begins_at, histograms.job_type, histograms.completed, histograms.failed,
        histograms.cancelled, histograms.failures,
        wait.percentiles[1], wait.percentiles[2], wait.percentiles[3],
        work.percentiles[1], work.percentiles[2], work.percentiles[3],
        histograms.waits, histograms.works
    from histograms
    cross join picture_edge.percentiles(histograms.waits) as wait (percentiles)
    cross join picture_edge.percentiles(histograms.works) as work (percentiles)
    on conflict (grain, begins_at, job_type) do nothing;
$$;

comment on function picture_edge.keep_minutes(timestamptz, timestamptz) is
'Count the jobs that ended from p_from to before p_until, whole minutes, into queue_history.';

create or replace function picture_edge.keep_hour(p_hour timestamptz) returns void
language sql
set search_path = ''
as $$
    insert into public.queue_history (
        grain, begins_at, job_type, completed, failed, cancelled, failures,
        wait_p50, wait_p95, wait_p99, work_p50, work_p95, work_p99, wait_counts, work_counts
    )
    select
        'hour', p_hour, sums.job_type, sums.completed, sums.failed, sums.cancelled, sums.failures,
        wait.percentiles[1], wait.percentiles[2], wait.percentiles[3],
        work.percentiles[1], work.percentiles[2], work.percentiles[3],
        sums.waits, sums.works
    from (
        select
            minutes.job_type,
            sum(minutes.completed) as completed,
            sum(minutes.failed) as failed,
            sum(minutes.cancelled) as cancelled,
            picture_edge.added(array_agg(minutes.failures)) as failures,
            picture_edge.added(array_agg(minutes.wait_counts)) as waits,
            picture_edge.added(array_agg(minutes.work_counts)) as works
        from public.queue_history as minutes
        where minutes.grain = 'minute' and minutes.begins_at >= p_hour
            and minutes.begins_at < p_hour + interval '1 hour'
        group by minutes.job_type
    ) as sums
    cross join picture_edge.percentiles(sums.waits) as wait (percentiles)
    cross join picture_edge.percentiles(sums.works) as work (percentiles)
    on conflict (grain, begins_at, job_type) do nothing;
$$;

comment on function picture_edge.keep_hour(timestamptz) is 'Add the minutes of an hour up in queue_history.';

create or replace function picture_edge.keep_queue_history() returns boolean
language plpgsql
set search_path = ''
as $$
declare
    -- A minute is settled a minute after its end: a transaction that writes its time at 59.9 s may commit later.
    v_settled timestamptz := date_trunc('minute', clock_timestamp() - interval '1 minute');
    v_from timestamptz;
    v_until timestamptz;
    v_hour timestamptz;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('picture_edge_queue_history', 0)) then
        return false;
    end if;
    v_from := greatest(
        v_settled - interval '48 hours',
        (
            select max(queue_history.begins_at) + interval '1 minute'
            from public.queue_history where queue_history.grain = 'minute'
        )
    );
    v_from := ( -- the next minute in which something has ended
        select date_trunc('minute', min(job_queue.completed_at))
        from public.job_queue
        where job_queue.status in ('completed', 'failed', 'cancelled')
            and job_queue.completed_at >= v_from and job_queue.completed_at < v_settled
    );
    v_until := least(v_from + interval '5 minutes', v_settled);
    if v_from is not null then
        perform picture_edge.keep_minutes(v_from, v_until);
    end if;

    for v_hour in
        select distinct date_trunc('hour', minutes.begins_at, 'UTC')
        from public.queue_history as minutes
        where minutes.grain = 'minute'
            and minutes.begins_at >= coalesce(
                (
                    select max(hours.begins_at) + interval '1 hour'
                    from public.queue_history as hours where hours.grain = 'hour'
                ),
                '-infinity'
            )
            -- An hour whose last minute is kept, or had nothing to be kept.
            and date_trunc('hour', minutes.begins_at, 'UTC') + interval '1 hour' <= coalesce(v_until, v_settled)
    loop
        perform picture_edge.keep_hour(v_hour);
    end loop;

    delete from public.queue_history
    where (queue_history.grain = 'minute' and queue_history.begins_at < v_settled - interval '48 hours')
        or (queue_history.grain = 'hour' and queue_history.begins_at < v_settled - interval '30 days');
    return coalesce(v_until < v_settled, false);
end;
$$;

comment on function picture_edge.keep_queue_history() is
'Count what has ended since the last call, five minutes at most, into queue_history; add up hours that are over; drop
what is too old. Returns whether there is more to count.';

alter table public.queue_history enable row level security;
revoke all on public.queue_history from public, anon, authenticated;
grant select, insert, update, delete on public.queue_history to service_role;
drop policy if exists queue_history_select_service on public.queue_history;
create policy queue_history_select_service on public.queue_history for select to service_role using (true);
revoke execute on function picture_edge.time_bucket(float8) from public, anon, authenticated;
grant execute on function picture_edge.time_bucket(float8) to service_role;
revoke execute on function picture_edge.percentiles(jsonb) from public, anon, authenticated;
grant execute on function picture_edge.percentiles(jsonb) to service_role;
revoke execute on function picture_edge.added(jsonb[]) from public, anon, authenticated;
grant execute on function picture_edge.added(jsonb[]) to service_role;
revoke execute on function picture_edge.keep_minutes(timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function picture_edge.keep_minutes(timestamptz, timestamptz) to service_role;
revoke execute on function picture_edge.keep_hour(timestamptz) from public, anon, authenticated;
grant execute on function picture_edge.keep_hour(timestamptz) to service_role;
revoke execute on function picture_edge.keep_queue_history() from public, anon, authenticated;
grant execute on function picture_edge.keep_queue_history() to service_role;
