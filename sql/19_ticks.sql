-- cron_ticks: when the clock last called process-jobs (a heartbeat), so that a stopped clock is noticed.
-- record_tick, tick_overdue: write it, read it.
-- Called by   functions/process_jobs, for calls that pg_net has sent

create table if not exists public.cron_ticks (
    id boolean primary key default true check (id),
    ticked_at timestamptz not null default now(),
    distance interval
);

comment on table public.cron_ticks is
'Heartbeat of the clock: one row once it has called process-jobs; none before, and none after unscheduling.';
comment on column public.cron_ticks.id is 'Always true: there is one row.';
comment on column public.cron_ticks.ticked_at is 'When the clock last called.';
comment on column public.cron_ticks.distance is 'Time between the last two calls: when the next one is to be expected.';

create or replace function picture_edge.record_tick() returns void
language sql
set search_path = ''
as $$
    insert into public.cron_ticks as tick (ticked_at) values (clock_timestamp())
    on conflict (id) do update set ticked_at = excluded.ticked_at, distance = excluded.ticked_at - tick.ticked_at;
$$;

comment on function picture_edge.record_tick() is 'Note that the clock has called process-jobs.';

create or replace function picture_edge.tick_overdue() returns interval
language sql
stable
set search_path = ''
as $$
    select clock_timestamp() - cron_ticks.ticked_at
    from public.cron_ticks
    -- A late tick is no alarm: three must be missing, whatever the schedule's interval.
    where clock_timestamp() - cron_ticks.ticked_at
        > greatest(3 * least(coalesce(cron_ticks.distance, '0'), interval '1 hour'), interval '3 minutes');
$$;

comment on function picture_edge.tick_overdue() is
'How long the clock has been silent, once three of its calls are missing; null while it ticks, or none was ever seen.';

revoke execute on function picture_edge.record_tick() from public, anon, authenticated;
grant execute on function picture_edge.record_tick() to service_role;
revoke execute on function picture_edge.tick_overdue() from public, anon, authenticated;
grant execute on function picture_edge.tick_overdue() to service_role;
