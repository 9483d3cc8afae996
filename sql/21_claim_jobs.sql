-- claim_jobs, claim_next_job: hand runnable jobs to one worker each.
-- Called by   functions/process_jobs as service_role; operators by hand
-- Promises    one job, one worker at a time; each claim raises the fencing token; priority first, then the users'
--             turns, then age, and no priority starves; what the provider would refuse stays in the queue; the cost
--             does not grow with what is finished, future, paused or of other types; a job that two workers have
--             died with is left to claim_suspect: its share_rank is negative

create or replace function public.claim_jobs(
    p_limit int,
    p_worker_id text default null,
    p_lease interval default '10 seconds',
    p_job_types text[] default null
) returns table (
    id uuid,
    job_type text,
    payload jsonb,
    attempt_number int,
    max_attempts int,
    lease_token bigint,
    lease_expires_at timestamptz
)
language plpgsql
set search_path = ''
set lock_timeout = '3s' -- a locked queue is an error to its caller, not a connection held for ever
set enable_seqscan = off -- whatever the statistics say, old ones too: the lanes are read by their index, in its order
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off -- before 18 what is off has a price, so high that each claim would be compiled: 340 ms, not 0.3
set plan_cache_mode = force_generic_plan -- planned once a session: planning takes longer than all the rest
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_all boolean;
    v_lane record;
    v_left int := p_limit;
    v_seen int;
    v_take int;
    v_taken int;
    v_allowed int; -- generate-image jobs that the provider takes at present; null: any number
    v_asked int := 0;
begin
    if p_limit is null or p_limit < 1 then
        raise exception using errcode = 'PT400', message = format('p_limit must be 1 or more, got %s', p_limit);
    end if;
    if p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = format('p_lease must be positive, got %s', p_lease);
    end if;
    perform public.requeue_expired(greatest(p_limit, 10), 30);
    v_now := clock_timestamp(); -- read once, as an index can end at a value, but not at a volatile function

    -- The provider's row is locked before any job, and only while there is a limit to be shared.
    if exists (
        select from public.job_queue where job_queue.status = 'pending' and job_queue.job_type = 'generate-image'
    ) then
        v_allowed := public.provider_allowance();
    end if;

    -- First each lane's share of the best p_limit jobs. They were seen without a lock, so others may have been
    -- faster; then whatever is left in any lane, so that no claim comes back short while a job is free.
    foreach v_all in array array[false, true] loop
        v_seen := 0;
        for v_lane in
            with recursive lane (job_type, priority, depth) as (
                (
                    select job_queue.job_type, job_queue.priority, 1
                    from public.job_queue
                    where job_queue.status = 'pending'
                    order by job_queue.job_type, job_queue.priority desc
                    limit 1
                )
                union all
                select following.* from lane
                cross join lateral (
                    (
                        select job_queue.job_type, job_queue.priority, lane.depth + 1
                        from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type = lane.job_type
                            and job_queue.priority < lane.priority
                            and lane.depth < 100 -- a type with more priorities than that runs the highest first
                        order by job_queue.priority desc
                        limit 1
                    )
                    union all
                    (
                        select job_queue.job_type, job_queue.priority, 1
                        from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type > lane.job_type
                        order by job_queue.job_type, job_queue.priority desc
                        limit 1
                    )
                    limit 1
                ) as following
            ),
            head as (
                select
                    lane.job_type, lane.priority, due.shared, due.rank,
                    row_number() over (order by due.rank, lane.priority desc) as place
                from lane
                cross join lateral (
                    -- Ageing: ten minutes of waiting weigh as much as one point of priority.
                    (
                        select
                            false as shared,
                            extract(epoch from job_queue.scheduled_at) - 600.0 * lane.priority as rank
                        from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type = lane.job_type
                            and job_queue.priority = lane.priority and job_queue.share_rank = 0
                            and job_queue.scheduled_at <= v_now
                        order by job_queue.scheduled_at, job_queue.id
                        limit p_limit
                    )
                    union all
                    (
                        select true, extract(epoch from job_queue.scheduled_at) - 600.0 * lane.priority
                        from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type = lane.job_type
                            and job_queue.priority = lane.priority and job_queue.share_rank > 0
                            and job_queue.scheduled_at <= v_now
                        order by job_queue.share_rank, job_queue.scheduled_at, job_queue.id
                        limit p_limit
                    )
                ) as due
                where (p_job_types is null or lane.job_type = any (p_job_types))
                    and not exists (
                        select from public.paused_queues
                        where paused_queues.job_type in (lane.job_type, '*')
                    )
            )
            select
                head.job_type, head.priority, head.shared, head.job_type = 'generate-image' as limited,
                count(*) filter (where head.place <= p_limit)::int as share
            from head
            group by head.job_type, head.priority, head.shared
            order by min(head.rank), head.priority desc
        loop
            v_seen := v_seen + v_lane.share;
            v_take := case when v_all then v_left else v_lane.share end;
            if v_lane.limited then
                v_take := least(v_take, v_allowed - v_asked);
            end if;
            continue when v_take <= 0;
            return query
            with aged as materialized (
                select job_queue.id
                from public.job_queue
                where not v_lane.shared and job_queue.status = 'pending'
                    and job_queue.job_type = v_lane.job_type and job_queue.priority = v_lane.priority
                    and job_queue.share_rank = 0 and job_queue.scheduled_at <= v_now
                order by job_queue.scheduled_at, job_queue.id
                limit v_take
                for update skip locked
            ),
            shared as materialized (
                select job_queue.id
                from public.job_queue
                where v_lane.shared and job_queue.status = 'pending'
                    and job_queue.job_type = v_lane.job_type and job_queue.priority = v_lane.priority
                    and job_queue.share_rank > 0 and job_queue.scheduled_at <= v_now
                order by job_queue.share_rank, job_queue.scheduled_at, job_queue.id
                limit v_take
                for update skip locked
            ),
            claimed as (
                update public.job_queue
                set status = 'processing',
                    attempt_number = job_queue.attempt_number + 1,
                    lease_token = job_queue.lease_token + 1,
                    lease_expires_at = clock_timestamp() + p_lease,
                    worker_id = p_worker_id,
                    started_at = clock_timestamp(),
                    updated_at = clock_timestamp()
                -- An array, and no status, so that no plan can read a lane here: the rows are locked and checked.
                where job_queue.id = any (array(select aged.id from aged union all select shared.id from shared))
                returning job_queue.*
            )
            select
                claimed.id, claimed.job_type, claimed.payload, claimed.attempt_number, claimed.max_attempts,
                claimed.lease_token, claimed.lease_expires_at
            from claimed
            order by claimed.share_rank, claimed.scheduled_at, claimed.id;
            get diagnostics v_taken = row_count;
            v_left := v_left - v_taken;
            if v_lane.limited then
                v_asked := v_asked + v_taken;
            end if;
        end loop;
        exit when v_left = 0 or p_limit - v_left = v_seen;
    end loop;
    if v_allowed is not null and v_asked > 0 then
        perform public.spend_provider_allowance(v_asked);
    end if;
end;
$$;

comment on function public.claim_jobs(int, text, interval, text[]) is
'Claim up to p_limit runnable jobs of p_job_types (null: all), highest priority first, then users in turn, then oldest,
under a lease of p_lease. Ten minutes of waiting count as one point of priority; generate-image jobs beyond the
providers limits stay where they are. Expired leases are taken back on the way.';

-- The original's function, for both of its forms: the documented one's columns first, then the rest of the row under
-- the field variant's names. Whoever calls it by hand does not renew the lease, so it is as long as a job may take.
create or replace function public.claim_next_job(
    p_job_types text[] default null,
    p_worker_id text default 'claim_next_job',
    p_lease interval default '10 minutes'
) returns table (
    id uuid,
    job_type text,
    payload jsonb,
    attempt_number int,
    max_attempts int,
    lease_token bigint,
    lease_expires_at timestamptz,
    status text,
    priority int,
    attempts int,
    scheduled_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    error_message text,
    error_details jsonb,
    created_by uuid,
    created_at timestamptz,
    updated_at timestamptz,
    result jsonb,
    worker_id text,
    crash_count int,
    errors jsonb,
    dedupe_key text,
    share_rank bigint
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
    v_id uuid := (select claimed.id from public.claim_one(p_worker_id, p_lease, p_job_types) as claimed);
begin
    return query -- a statement of its own, as the one that claims does not see what it changes
    select
        job_queue.id, job_queue.job_type, job_queue.payload, job_queue.attempt_number, job_queue.max_attempts,
        job_queue.lease_token, job_queue.lease_expires_at, job_queue.status, job_queue.priority,
        job_queue.attempt_number, job_queue.scheduled_at, job_queue.started_at, job_queue.completed_at,
        job_queue.error_message, job_queue.error_details, job_queue.created_by, job_queue.created_at,
        job_queue.updated_at, job_queue.result, job_queue.worker_id, job_queue.crash_count, job_queue.errors,
        job_queue.dedupe_key, job_queue.share_rank
    from public.job_queue
    where job_queue.id = v_id;
end;
$$;

comment on function public.claim_next_job(text[], text, interval) is
'Claim the next runnable job, for ten minutes unless p_lease says otherwise; no row when there is none.';

revoke execute on function public.claim_jobs(int, text, interval, text[]) from public, anon, authenticated;
grant execute on function public.claim_jobs(int, text, interval, text[]) to service_role;
revoke execute on function public.claim_next_job(text[], text, interval) from public, anon, authenticated;
grant execute on function public.claim_next_job(text[], text, interval) to service_role;
