-- cron_ticks: when the clock last called process-jobs (a heartbeat), so that a stopped clock is noticed.
-- expect_ticks, record_tick, tick_overdue: begin to expect it, write it, read it. clock_records: what cron's and net's
-- own records say.
-- Called by   schedule_process_jobs; functions/process_jobs, for calls that pg_net has sent, and for its diagnostic
-- Promises    no evidence is not health: silence counts from the moment of scheduling, not from the first call

create table if not exists public.cron_ticks (
    id boolean primary key default true check (id),
    ticked_at timestamptz not null default now(),
    distance interval
);

alter table public.cron_ticks add column if not exists expected_since timestamptz;
alter table public.cron_ticks alter column ticked_at drop not null;

comment on table public.cron_ticks is
'Heartbeat of the clock: one row once process-jobs is scheduled, or called by cron; none after unscheduling.';
comment on column public.cron_ticks.id is 'Always true: there is one row.';
comment on column public.cron_ticks.ticked_at is 'When the clock last called; null before its first call.';
comment on column public.cron_ticks.distance is 'Time between the last two calls: when the next one is to be expected.';
comment on column public.cron_ticks.expected_since is 'When process-jobs was scheduled; null for a schedule by hand.';

create or replace function picture_edge.expect_ticks(p_distance interval) returns void
language sql
set search_path = ''
as $$
    insert into public.cron_ticks as tick (ticked_at, distance, expected_since)
    values (null, p_distance, clock_timestamp())
    on conflict (id) do update set distance = excluded.distance, expected_since = excluded.expected_since;
$$;

comment on function picture_edge.expect_ticks(interval) is
'Expect calls of the clock from now on, p_distance apart at most; null: each minute.';

create or replace function picture_edge.record_tick() returns void
language sql
set search_path = ''
as $$
    insert into public.cron_ticks as tick (ticked_at) values (clock_timestamp())
    on conflict (id) do update set
        ticked_at = excluded.ticked_at,
        distance = coalesce(excluded.ticked_at - tick.ticked_at, tick.distance);
$$;

comment on function picture_edge.record_tick() is 'Note that the clock has called process-jobs.';

create or replace function picture_edge.tick_overdue() returns interval
language sql
stable
set search_path = ''
as $$
    select clock_timestamp() - greatest(cron_ticks.ticked_at, cron_ticks.expected_since)
    from public.cron_ticks
    -- A late tick is no alarm: three must be missing, whatever the schedule's interval.
    where clock_timestamp() - greatest(cron_ticks.ticked_at, cron_ticks.expected_since)
        > greatest(3 * least(coalesce(cron_ticks.distance, '0'), interval '1 hour'), interval '3 minutes');
$$;

comment on function picture_edge.tick_overdue() is
'How long the clock has been silent, once three of its calls are missing; null while it ticks, or without a schedule.';

-- Dynamic SQL: the extensions may be absent, may come later, or their tables may be closed to the gateway's login.
create or replace function picture_edge.clock_records() returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
    v_found text[] := '{}';
    v_jobs int := 0;
    v_run record;
begin
    if to_regclass('cron.job_run_details') is null or to_regclass('net._http_response') is null then
        return array['pg_cron or pg_net is absent'];
    end if;
    for v_run in execute $sql$
        select job.jobname, job.active, last.status, split_part(btrim(last.return_message), e'\n', 1) as message
        from cron.job
        left join lateral (
            select details.status, details.return_message
            from cron.job_run_details as details
            where details.jobid = job.jobid and details.status in ('succeeded', 'failed')
            order by details.runid desc
            limit 1
        ) as last on true
        where job.jobname in ('process-jobs-worker', 'cleanup-old-jobs', 'purge-cron-history')
        order by job.jobid
    $sql$ loop
        v_jobs := v_jobs + 1;
        if not v_run.active then
            v_found := v_found || format('cron job %s is not active', v_run.jobname);
        elsif v_run.status = 'failed' then
            v_found := v_found || format('cron job %s failed: %s', v_run.jobname, left(v_run.message, 200));
        end if;
    end loop;
    if v_jobs = 0 then
        v_found := v_found || format('%s sees no cron job process-jobs-worker', current_user);
    end if;
    for v_run in execute $sql$
        select response.status_code, split_part(response.error_msg, e'\n', 1) as message
        from net._http_response as response
        where response.created > now() - interval '1 hour'
        order by response.created desc
        limit 1
    $sql$ loop
        if v_run.status_code is null then
            v_found := v_found || format('pg_net''s last call had no response: %s', left(v_run.message, 200));
        elsif v_run.status_code >= 300 then
            v_found := v_found || format('pg_net''s last call was answered HTTP %s', v_run.status_code);
        end if;
    end loop;
    return v_found;
exception when insufficient_privilege then
    return v_found || format('%s may not read the records of pg_cron and pg_net', current_user);
end;
$$;

comment on function picture_edge.clock_records() is
'What pg_cron''s and pg_net''s own records say is wrong with the scheduled calls and clean-ups, a text each.';

revoke execute on function picture_edge.expect_ticks(interval) from public, anon, authenticated;
grant execute on function picture_edge.expect_ticks(interval) to service_role;
revoke execute on function picture_edge.clock_records() from public, anon, authenticated;
grant execute on function picture_edge.clock_records() to service_role;

revoke execute on function picture_edge.record_tick() from public, anon, authenticated;
grant execute on function picture_edge.record_tick() to service_role;
revoke execute on function picture_edge.tick_overdue() from public, anon, authenticated;
grant execute on function picture_edge.tick_overdue() to service_role;
