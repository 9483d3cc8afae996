-- queue_gauges: what /metrics shows of the database, as one document. leases_expired: a counter.
-- Called by   functions/gateway/queue_gauges.py, at each scrape that finds its own copy older than 5 s
-- Promises    read at most every 5 s by all gateways together, the others get the kept row; by one at a time, nobody
--             waits for it. Bounded: waiting jobs are counted by an index alone, a million of each type at most; a read
--             that takes long is kept for a hundred times as long, so that it costs one per cent of a core at most

create table if not exists public.kept_gauges (
    id boolean primary key default true check (id),
    read_at timestamptz not null,
    took interval not null,
    gauges jsonb not null
);

comment on table public.kept_gauges is 'The last answer of queue_gauges, in one row. A cache: derived from all else.';
comment on column public.kept_gauges.id is 'Always true: there is one row.';
comment on column public.kept_gauges.read_at is 'When it was read.';
comment on column public.kept_gauges.took is 'How long that took.';
comment on column public.kept_gauges.gauges is 'As queue_gauges returns it.';

create sequence if not exists picture_edge.leases_expired;
comment on sequence picture_edge.leases_expired is
'Counts leases that have expired (sql/26_leases.sql): a sequence, as a row would be locked by every recovery.';

create or replace function picture_edge.read_gauges() returns jsonb
language sql
set search_path = ''
set enable_seqscan = off -- what waits is read by its index, and an index-only scan reads no job
set enable_bitmapscan = off
set jit = off
as $$
    with recursive waiting_type (job_type) as ( -- skip scan: one step of the index to each type
        (
            select job_queue.job_type from public.job_queue
            where job_queue.status = 'pending'
            order by job_queue.job_type
            limit 1
        )
        union all
        select following.job_type from waiting_type
        cross join lateral (
            select job_queue.job_type from public.job_queue
            where job_queue.status = 'pending' and job_queue.job_type > waiting_type.job_type
            order by job_queue.job_type
            limit 1
        ) as following
    ),
    waiting as (
        select
            waiting_type.job_type,
            count(*) as jobs,
            min(counted.scheduled_at) filter (
                where counted.scheduled_at <= clock_timestamp() and isfinite(counted.scheduled_at)
            ) as oldest_due_at
        from waiting_type
        cross join lateral (
            select job_queue.scheduled_at from public.job_queue
            where job_queue.status = 'pending' and job_queue.job_type = waiting_type.job_type
            limit 1000000
        ) as counted
        group by waiting_type.job_type
    ),
    running as (
        select job_queue.job_type, job_queue.parked, count(*) as jobs
        from public.job_queue
        where job_queue.status = 'processing'
        group by job_queue.job_type, job_queue.parked
    ),
    failed as (
        select newest.job_type, count(*) as jobs
        from (
            select job_queue.job_type from public.job_queue
            where job_queue.status = 'failed'
            order by job_queue.completed_at desc
            limit 10000
        ) as newest
        group by newest.job_type
    )
    select jsonb_build_object(
        'read_at', extract(epoch from clock_timestamp()),
        'jobs', (
            select coalesce(jsonb_agg(jsonb_build_array(each.job_type, each.status, each.jobs)), '[]')
            from (
                select waiting.job_type, 'pending' as status, waiting.jobs from waiting
                union all
                select running.job_type, case when running.parked then 'parked' else 'processing' end, running.jobs
                from running
                union all
                select failed.job_type, 'failed', failed.jobs from failed
            ) as each
        ),
        'oldest_due_at', (
            select coalesce(jsonb_object_agg(waiting.job_type, extract(epoch from waiting.oldest_due_at)), '{}')
            from waiting
            where waiting.oldest_due_at is not null
        ),
        'parked_predictions', (select count(*) from public.predictions where predictions.status = 'running'),
        'leases_expired', (
            select case when counter.is_called then counter.last_value else 0 end
            from picture_edge.leases_expired as counter
        ),
        'ticked_at', (
            select extract(epoch from greatest(cron_ticks.ticked_at, cron_ticks.expected_since))
            from public.cron_ticks
        ),
        'workers', (
            select count(*) from public.workers
            where workers.last_seen_at > clock_timestamp() - interval '30 seconds'
        ),
        'limited_until', (
            select coalesce(
                jsonb_object_agg(provider_limits.provider, extract(epoch from provider_limits.not_before)), '{}'
            )
            from public.provider_limits
            where isfinite(provider_limits.not_before)
        )
    );
$$;

comment on function picture_edge.read_gauges() is
'Read what queue_gauges keeps: jobs by type and status (waiting ones: a million of each type at most; failed ones: the
newest 10,000), the oldest due job of each type, running predictions, expired leases, the clock, workers, rate limits.
Times are seconds since 1970.';

create or replace function picture_edge.queue_gauges(p_every interval default '5 seconds') returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    v_kept public.kept_gauges;
    v_began timestamptz;
begin
    for v_try in 1..2 loop -- again under the lock: another gateway may have read meanwhile
        select * into v_kept from public.kept_gauges;
        if v_kept.read_at > clock_timestamp() - greatest(p_every, 100 * v_kept.took) then
            return v_kept.gauges;
        end if;
        exit when v_try = 2;
        if not pg_try_advisory_xact_lock(hashtextextended('picture_edge.queue_gauges', 0)) then
            return v_kept.gauges; -- null before the first
        end if;
    end loop;
    v_began := clock_timestamp();
    v_kept.gauges := picture_edge.read_gauges();
    insert into public.kept_gauges as kept (read_at, took, gauges)
    values (clock_timestamp(), clock_timestamp() - v_began, v_kept.gauges)
    on conflict (id) do update set read_at = excluded.read_at, took = excluded.took, gauges = excluded.gauges;
    return v_kept.gauges;
end;
$$;

comment on function picture_edge.queue_gauges(interval) is
'What /metrics shows of the database: read anew where the kept row is older than p_every, and than a hundred times what
reading it took. Null where another session reads it for the first time.';

alter table public.kept_gauges enable row level security;
revoke all on public.kept_gauges from public, anon, authenticated;
grant select, insert, update on public.kept_gauges to service_role;
drop policy if exists kept_gauges_select_service on public.kept_gauges;
create policy kept_gauges_select_service on public.kept_gauges for select to service_role using (true);
revoke all on sequence picture_edge.leases_expired from public, anon, authenticated;
grant select, usage on sequence picture_edge.leases_expired to service_role;
revoke execute on function picture_edge.read_gauges() from public, anon, authenticated;
grant execute on function picture_edge.read_gauges() to service_role;
revoke execute on function picture_edge.queue_gauges(interval) from public, anon, authenticated;
grant execute on function picture_edge.queue_gauges(interval) to service_role;
