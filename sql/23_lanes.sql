-- due_parts: where the next claim reads on, lane by lane. find_lanes: every lane, from its start. lanes_changed: jobs
-- that come to stand before what is read out.
-- Called by   claim_jobs, under its settings (plans by index, made once a session)
-- Promises    a claim reads no dead tuples but those since this session's last claims, also while an old snapshot keeps
--             VACUUM from removing any; a job is seen at once, but for one that is committed behind a later one: that
--             one when nothing else is due, or a second later
--
-- Dead tuples gather where a claim begins to read. So each session remembers the low-water mark of each part of a lane:
-- the first due job that the last look found. In a setting: no row that would leave dead tuples itself, no lock, and
-- undone with a claim that is rolled back. A session reads every lane from its very start (a full look) when it
-- remembers nothing, its last full look is a second old, nothing is due, a job is pending where no lane is known, or
-- lane_changes was raised.

do $$
begin
    if to_regtype('picture_edge.lane_part') is null then
        create type picture_edge.lane_part as (
            job_type text,
            priority bigint,
            below bigint,
            beyond text,
            shared boolean,
            turn bigint,
            at timestamptz,
            id uuid,
            since timestamptz,
            due boolean
        );
    end if;
end;
$$;
comment on type picture_edge.lane_part is
'A lane''s part, by age or (shared) by turn. Low-water mark: no job is before (turn, at, id), none is older than since;
turns begin at 1, from where an index scan before PostgreSQL 18 has to start to pass the jobs without a turn.
below: the next lower priority that has jobs. Without shared: the place above a type''s highest priority; beyond: the
next type.';

create sequence if not exists picture_edge.lane_changes;
comment on sequence picture_edge.lane_changes is
'Raised when jobs come to stand behind others that are claimed already: each session''s next claim is a full look.';

create or replace function picture_edge.find_lanes(
    p_job_types text[], p_now timestamptz, p_known picture_edge.lane_part[]
) returns picture_edge.lane_part[]
language sql
set search_path = ''
as $$
    with recursive pending (job_type) as (
        (
            select job_queue.job_type
            from public.job_queue
            where job_queue.status = 'pending' and p_job_types is null
            order by job_queue.job_type, job_queue.priority desc
            limit 1
        )
        union all
        select following.job_type from pending
        cross join lateral (
            select job_queue.job_type
            from public.job_queue
            where job_queue.status = 'pending' and job_queue.job_type > pending.job_type
            order by job_queue.job_type, job_queue.priority desc
            limit 1
        ) as following
    ),
    kind as (
        select asked.job_type from unnest(p_job_types) as asked (job_type)
        union
        select pending.job_type from pending
        union
        select known.job_type from unnest(p_known) as known where p_job_types is null
        union
        select '' where p_job_types is null
    ),
    lane (job_type, priority, depth) as (
        select kind.job_type, highest.priority, 0
        from kind
        cross join lateral (
            select job_queue.priority
            from public.job_queue
            where job_queue.status = 'pending' and job_queue.job_type = kind.job_type
            order by job_queue.priority desc
            limit 1
        ) as highest
        union all
        -- Bounds the recursion: of more priorities the highest 100 that have a due job are read. A scalar subquery with
        -- a limit, not exists: that could become a hash table of the whole lane.
        select lane.job_type, following.priority, lane.depth + coalesce(
            (
                select 1 from public.job_queue
                where job_queue.status = 'pending' and job_queue.job_type = lane.job_type
                    and job_queue.priority = lane.priority and job_queue.share_rank = 0
                    and job_queue.scheduled_at <= p_now
                limit 1
            ),
            (
                select 1 from public.job_queue
                where job_queue.status = 'pending' and job_queue.job_type = lane.job_type
                    and job_queue.priority = lane.priority and job_queue.share_rank > 0
                    and job_queue.scheduled_at <= p_now
                limit 1
            ),
            0
        )
        from lane
        cross join lateral (
            select job_queue.priority
            from public.job_queue
            where job_queue.status = 'pending' and job_queue.job_type = lane.job_type
                and job_queue.priority < lane.priority
            order by job_queue.priority desc
            limit 1
        ) as following
        where lane.depth < 100
    ),
    place as (
        select lane.job_type, lane.priority::bigint, false as empty from lane
        union all
        select distinct known.job_type, known.priority, true -- its dead tuples are stepped over, so it is not forgotten
        from unnest(p_known) as known
        where known.shared is not null
            and not exists (
                select from lane where lane.job_type = known.job_type and lane.priority = known.priority
            )
        union all
        select kind.job_type, 2147483648, null from kind -- above every priority
    ),
    bounded as (
        select
            place.*,
            lead(place.priority, 1, -2147483649) over (
                partition by place.job_type order by place.priority desc
            ) as below,
            (select min(kind.job_type) from kind where kind.job_type > place.job_type) as beyond
        from place
    )
    select array_agg(row(
        bounded.job_type, bounded.priority, bounded.below, bounded.beyond, half.shared,
        coalesce(known.turn, 1), coalesce(known.at, '-infinity'),
        coalesce(known.id, '00000000-0000-0000-0000-000000000000'), coalesce(known.since, '-infinity'), false
    )::picture_edge.lane_part)
    from bounded
    cross join lateral unnest(
        case when bounded.empty is null then array[null::boolean] else array[false, true] end
    ) as half (shared)
    left join unnest(p_known) as known
        on bounded.empty and known.job_type = bounded.job_type and known.priority = bounded.priority
        and known.shared = half.shared;
$$;

comment on function picture_edge.find_lanes(text[], timestamptz, picture_edge.lane_part[]) is
'Every lane of p_job_types (null: of all) with pending jobs, to be read from its start, and those of p_known that are
empty now, from where they were; by loose index scan: from lane to lane, not through the jobs between.';

create or replace function picture_edge.due_parts(p_job_types text[], p_limit int)
returns picture_edge.lane_part[]
language plpgsql
set search_path = ''
set datestyle = 'ISO' -- what is remembered is text
as $$
declare
    v_of text := concat_ws(' ', (select lane_changes.last_value from picture_edge.lane_changes), p_job_types::text);
    v_known picture_edge.lane_part[];
    v_found picture_edge.lane_part[];
    v_full boolean := true;
    v_now timestamptz := clock_timestamp(); -- a volatile function cannot bound an index scan
    v_unknown boolean;
begin
    perform from public.job_queue limit 0; -- lock order: make schema locks it before paused_queues, too
    if split_part(v_of, ' ', 2) = split_part(current_setting('picture_edge.lanes_of', true), ' ', 2) then
        v_known := nullif(current_setting('picture_edge.lanes', true), '')::picture_edge.lane_part[];
    end if;
    if v_known is not null and v_of = current_setting('picture_edge.lanes_of', true) then
        v_full := v_now - current_setting('picture_edge.lanes_looked_at', true)::timestamptz
            not between interval '0' and interval '1 second';
    end if;
    loop
        if v_full then
            -- Expired leases are taken back on the way. Not at each claim: dead tuples of running jobs lie there.
            perform picture_edge.requeue_expired(greatest(p_limit, 10), 300);
            v_now := clock_timestamp();
            v_known := picture_edge.find_lanes(p_job_types, v_now, v_known);
        end if;
        select
            array_agg(
                row(
                    part.job_type, part.priority, part.below, part.beyond, part.shared,
                    coalesce(head.turn, case when held.back then part.turn else 1 end),
                    coalesce(head.at, case when held.back then part.at else '-infinity' end),
                    coalesce(head.id, part.id),
                    case
                        when head.at is null and not held.back then greatest(part.since, v_now - interval '1 second')
                        else part.since
                    end,
                    head.at is not null
                )::picture_edge.lane_part
                -- Ageing against starvation: ten minutes of waiting weigh as much as one point of priority.
                order by extract(epoch from head.at) - 600.0 * part.priority, part.priority desc
            ),
            bool_or(
                not held.back and (
                    part.shared is not true and coalesce((
                        select true from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type = part.job_type
                            and job_queue.priority < part.priority and job_queue.priority > part.below
                        limit 1
                    ), false)
                )
                or p_job_types is null and part.shared is null and coalesce(
                    case when part.beyond is null then (
                        select true from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type > part.job_type
                        limit 1
                    ) else (
                        select true from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type > part.job_type
                            and job_queue.job_type < part.beyond
                        limit 1
                    ) end,
                    false
                )
            )
        into v_found, v_unknown
        from unnest(v_known) as part
        cross join lateral (
            select coalesce((
                select true from public.paused_queues where paused_queues.job_type in (part.job_type, '*') limit 1
            ), false) as back
        ) as held
        left join lateral (
            (
                select job_queue.share_rank as turn, job_queue.scheduled_at as at, job_queue.id
                from public.job_queue
                where not part.shared and not held.back and job_queue.status = 'pending'
                    and job_queue.job_type = part.job_type and job_queue.priority = part.priority
                    and job_queue.share_rank = 0 and (job_queue.scheduled_at, job_queue.id) >= (part.at, part.id)
                    and job_queue.scheduled_at >= part.since and job_queue.scheduled_at <= v_now
                order by job_queue.scheduled_at, job_queue.id
                limit 1
            )
            union all
            (
                select job_queue.share_rank, job_queue.scheduled_at, job_queue.id
                from public.job_queue
                where part.shared and not held.back and job_queue.status = 'pending'
                    and job_queue.job_type = part.job_type and job_queue.priority = part.priority
                    and job_queue.share_rank > 0
                    and (job_queue.share_rank, job_queue.scheduled_at, job_queue.id) >= (part.turn, part.at, part.id)
                    and job_queue.scheduled_at >= part.since and job_queue.scheduled_at <= v_now
                order by job_queue.share_rank, job_queue.scheduled_at, job_queue.id
                limit 1
            )
        ) as head on true;
        exit when v_full or (v_found[1].due and not v_unknown);
        v_full := true;
    end loop;
    if v_full then
        perform set_config('picture_edge.lanes_of', v_of, false);
        perform set_config('picture_edge.lanes_looked_at', v_now::text, false);
    end if;
    if v_full or random() * 20 < p_limit then -- writing the marks costs more than a few dead tuples
        -- More lanes than this are not remembered: finding them costs less than the text.
        perform set_config('picture_edge.lanes', case when cardinality(v_found) <= 300 then v_found::text end, false);
    end if;
    return v_found;
end;
$$;

comment on function picture_edge.due_parts(text[], int) is
'The parts of the lanes of p_job_types (null: of all), those with due jobs first, in the order in which a claim of
p_limit jobs takes from them; each with where to read on.';

create or replace function picture_edge.lanes_changed() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    perform nextval('picture_edge.lane_changes');
    return null;
exception when insufficient_privilege then
    return null; -- a role of the project's own: what it has moved is seen a second later
end;
$$;

comment on function picture_edge.lanes_changed() is
'Trigger: have each session''s next claim look for jobs that stand before those it has seen, where a statement has moved
jobs, or may have: release_job, redrive_job, requeue_expired, an operator''s UPDATE, an INSERT into the past.';

-- An UPDATE of the status alone is complete_manual_change's.
create or replace trigger lanes_changed
after update of job_type, priority, share_rank, scheduled_at on public.job_queue
for each statement
execute function picture_edge.lanes_changed();

create or replace trigger lanes_changed_by_insert
after insert on public.job_queue
for each row
when (new.scheduled_at < now() and new.status = 'pending')
execute function picture_edge.lanes_changed();

revoke all on sequence picture_edge.lane_changes from public, anon, authenticated;
grant select, usage on sequence picture_edge.lane_changes to service_role;
revoke execute on function picture_edge.find_lanes(text[], timestamptz, picture_edge.lane_part[])
from public, anon, authenticated;
grant execute on function picture_edge.find_lanes(text[], timestamptz, picture_edge.lane_part[]) to service_role;
revoke execute on function picture_edge.due_parts(text[], int) from public, anon, authenticated;
grant execute on function picture_edge.due_parts(text[], int) to service_role;
revoke execute on function picture_edge.lanes_changed() from public, anon, authenticated;
