-- place_in_line, seconds_left: where a job stands, and when it will be done. spoken, moment: times in words.
-- Called by   explain_job; the page at /operate by that
-- Promises    estimates, of a bounded part of the queue, however long that is; null where nothing like it has ended

create or replace function picture_edge.spoken(p_interval interval) returns text
language sql
immutable
set search_path = ''
as $$
    select case
        when length.seconds < 10 then round(length.seconds, 1) || ' s'
        when length.seconds < 120 then round(length.seconds) || ' s'
        when length.seconds < 7200 then round(length.seconds / 60) || ' min'
        when length.seconds < 172800 then round(length.seconds / 3600) || ' h'
        else round(length.seconds / 86400) || ' days'
    end
    from (select abs(extract(epoch from p_interval)) as seconds) as length;
$$;

comment on function picture_edge.spoken(interval) is
'An interval''s length in words, with one unit: 3.2 s, 40 s, 15 min, 5 h, 3 days.';

create or replace function picture_edge.moment(p_at timestamptz) returns text
language sql
stable
set search_path = ''
as $$
    select case
        when not isfinite(p_at) then p_at::text
        else to_char(p_at, 'YYYY-MM-DD HH24:MI:SS') || case when p_at > clock_timestamp()
            then ', in ' || picture_edge.spoken(p_at - clock_timestamp())
            else ', ' || picture_edge.spoken(clock_timestamp() - p_at) || ' ago'
        end
    end;
$$;

comment on function picture_edge.moment(timestamptz) is
'A time in the session''s time zone, and how far away it is: 2026-10-01 12:00:00, 15 min ago.';

create or replace function picture_edge.place_in_line(p_job_id uuid) returns int
language sql
stable
set search_path = ''
as $$
    select count(*)::int
    from (select * from public.job_queue where job_queue.id = p_job_id) as mine
    cross join lateral (
        -- The first 10,000 in the order of the index, so that a long line is not read to its end.
        select other.priority, other.share_rank, other.scheduled_at, other.id
        from public.job_queue as other
        where other.status = 'pending' and other.job_type = mine.job_type
            and other.scheduled_at <= statement_timestamp()
        order by other.job_type, other.priority desc, other.share_rank, other.scheduled_at, other.id
        limit 10000
    ) as others
    where others.id <> mine.id and others.share_rank >= 0 and case
        -- The order of claim_jobs: within a lane its two parts each in their own order; the parts, and the priorities,
        -- by age, ten minutes of which weigh as much as a point of priority.
        when others.priority = mine.priority and least(others.share_rank, 1) = least(mine.share_rank, 1)
            then (others.share_rank, others.scheduled_at, others.id)
                < (mine.share_rank, mine.scheduled_at, mine.id)
        else others.scheduled_at - others.priority * interval '10 minutes'
            < mine.scheduled_at - mine.priority * interval '10 minutes'
    end;
$$;

comment on function picture_edge.place_in_line(uuid) is
'How many due jobs of its type will be claimed before a pending job, by the order of claim_jobs: an estimate, as others
come and go; 10,000 at most.';

create or replace function picture_edge.seconds_left(p_job public.job_queue) returns float8
language sql
stable
set search_path = ''
as $$
    with recent as ( -- what has ended lately tells how fast the line moves, and how long one job takes
        select
            count(*) as ended,
            extract(epoch from clock_timestamp() - min(latest.completed_at))::float8 as within,
            percentile_cont(0.5) within group (order by extract(epoch from latest.completed_at - latest.started_at))
                as work
        from (
            select job_queue.completed_at, job_queue.started_at
            from public.job_queue
            where job_queue.status in ('completed', 'failed', 'cancelled')
                and job_queue.completed_at > statement_timestamp() - interval '10 minutes'
                and job_queue.job_type = p_job.job_type and isfinite(job_queue.started_at)
            order by job_queue.completed_at desc
            limit 500
        ) as latest
    ),
    usual as (
        select coalesce(
            picture_edge.typical_seconds(p_job.payload ->> 'model_id'),
            (
                select models.typical_seconds::float8 from public.models
                where models.replicate_id = p_job.payload ->> 'model_id'
                limit 1
            ),
            recent.work
        ) as work
        from recent
    )
    select case p_job.status
        when 'pending' then
            greatest(
                0,
                date_part('epoch', p_job.scheduled_at - clock_timestamp()),
                -- -infinity without a 429: before PostgreSQL 17 no interval is infinite.
                case when isfinite(provider.not_before)
                    then date_part('epoch', provider.not_before - clock_timestamp()) end,
                -- Its turn: at the speed of the last minutes, and no faster than the provider's rate limit.
                case line.place when 0 then 0 else greatest(
                    line.place * recent.within / nullif(recent.ended, 0), line.place * 60 / provider.per_minute
                ) end
            ) + usual.work
        when 'processing' then
            greatest(usual.work - extract(epoch from clock_timestamp() - p_job.started_at)::float8, 0)
    end
    from recent
    cross join usual
    cross join lateral (
        select case when p_job.status = 'pending' then picture_edge.place_in_line(p_job.id) end as place
    ) as line
    left join public.job_types on job_types.job_type = p_job.job_type
    left join public.provider_limits as provider on provider.provider = job_types.provider
    where isfinite(p_job.scheduled_at);
$$;

comment on function picture_edge.seconds_left(public.job_queue) is
'About how many seconds until a job ends: its place in line at the speed of the last ten minutes, and the usual time of
its model or type. Null where nothing like it has ended lately.';

revoke execute on function picture_edge.spoken(interval) from public, anon, authenticated;
grant execute on function picture_edge.spoken(interval) to service_role;
revoke execute on function picture_edge.moment(timestamptz) from public, anon, authenticated;
grant execute on function picture_edge.moment(timestamptz) to service_role;
revoke execute on function picture_edge.place_in_line(uuid) from public, anon, authenticated;
grant execute on function picture_edge.place_in_line(uuid) to service_role;
revoke execute on function picture_edge.seconds_left(public.job_queue) from public, anon, authenticated;
grant execute on function picture_edge.seconds_left(public.job_queue) to service_role;
