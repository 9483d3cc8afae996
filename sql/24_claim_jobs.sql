-- claim_jobs, claim_next_job: hand runnable jobs to one worker each.
-- Called by   functions/process_jobs as service_role; operators by hand
-- Promises    mutual exclusion: one job, one worker at a time; each claim raises the fencing token; priority first,
--             then fair queueing among users, then age, and no priority starves; the provider's rate limit leaves jobs
--             in the queue; the cost is independent of finished, future and paused jobs, and of other types where
--             p_job_types names those that are asked for; suspects (sql/25_suspects.sql) have a negative share_rank,
--             and are claim_suspect's
--
-- Map of claim_jobs
--     lane      a job type at a priority: one range of the index job_queue_share_lane_idx.
--     part      a lane has two: by age (share_rank 0) and by turn (share_rank above 0, fair queueing). due_parts
--               (sql/23_lanes.sql) tells which have a due job, in the order of their first ones, ageing included, and
--               from where each is to be read: nothing is locked, and nothing behind the first is read.
--     share     how many jobs of a part are among the best p_limit: where one part alone is due, all of them.
--     pass 1    each part's share is locked, with skip locked: another claim may have been faster with some of it.
--     pass 2    only if pass 1 got less than it had seen: each part in turn gives what is still missing.
--     bytes     a claim ends at 16 MB of payload, with one job in any case.
--     provider  a type of job_types that spends a provider takes no more than provider_allowance has granted.

create or replace function public.claim_jobs(
    p_limit int,
    p_worker_id text default null,
    p_lease interval default '10 minutes',
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
set lock_timeout = '3s' -- fail fast: a locked queue is an error to its caller, not a connection held for ever
set enable_seqscan = off -- the lanes are read by their index, in its order, even with stale statistics
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off -- before PostgreSQL 18 a disabled plan type adds a huge cost, which triggers JIT: 340 ms, not 0.3 ms
set plan_cache_mode = force_generic_plan -- planned once a session: planning takes longer than the claim itself
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_parts picture_edge.lane_part[];
    v_part picture_edge.lane_part;
    v_shares int[] := array[p_limit];
    v_seen int := 1;
    v_place int;
    v_all boolean;
    v_left int := p_limit;
    -- Bytes as well as jobs: 62 MB of payload over a slow line were cut after five seconds, each time again.
    v_bytes bigint := 16 * 1024 * 1024;
    v_size bigint;
    v_rows tid[];
    v_take int;
    v_taken int;
    v_provider text;
    v_allowances jsonb := '{}'; -- provider → jobs that may still be claimed for it; null: any number
    v_allowed int;
begin
    if p_limit is null or p_limit < 1 then
        raise exception using errcode = 'PT400', message = format('p_limit must be 1 or more, got %s', p_limit);
    end if;
    if p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = format('p_lease must be positive, got %s', p_lease);
    end if;
    -- A gateway from before picture_edge calls helpers that have left public, and would fail each job that it claims.
    -- Refused, it claims nothing and says so in /ready; its jobs are another worker's when their leases expire.
    if current_setting('application_name') = 'picture-edge' then
        raise exception using
            errcode = 'PT503', message = 'This gateway is older than sql/: restart it with the code of today';
    end if;
    v_parts := picture_edge.due_parts(p_job_types, p_limit);
    v_now := clock_timestamp(); -- read once: a volatile function cannot bound an index scan
    if not coalesce(v_parts[1].due, false) then
        return;
    end if;

    -- Lock order: a provider's row before any job, and only while that provider has a limit to be shared.
    for v_provider in
        select provider_limits.provider
        from public.provider_limits
        where (
            select true from public.job_types
            inner join unnest(v_parts) as part on part.job_type = job_types.job_type
            where job_types.provider = provider_limits.provider and part.due
            limit 1
        )
        order by provider_limits.provider
    loop
        v_allowances := v_allowances || jsonb_build_object(v_provider, picture_edge.provider_allowance(v_provider));
    end loop;

    if v_parts[2].due and p_limit > 1 then
        select array_agg(share.jobs order by share.place), sum(share.jobs)
        into v_shares, v_seen
        from (
            select head.place, count(*) filter (where head.best <= p_limit)::int as jobs
            from (
                select part.place, row_number() over (order by due.rank, part.priority desc) as best
                from unnest(v_parts) with ordinality
                    as part (job_type, priority, below, beyond, shared, turn, at, id, since, due, place)
                cross join lateral (
                    -- Ageing as in due_parts.
                    (
                        select extract(epoch from job_queue.scheduled_at) - 600.0 * part.priority as rank
                        from public.job_queue
                        where not part.shared and job_queue.status = 'pending'
                            and job_queue.job_type = part.job_type and job_queue.priority = part.priority
                            and job_queue.share_rank = 0
                            and (job_queue.scheduled_at, job_queue.id) >= (part.at, part.id)
                            and job_queue.scheduled_at <= v_now
                        order by job_queue.scheduled_at, job_queue.id
                        limit p_limit
                    )
                    union all
                    (
                        select extract(epoch from job_queue.scheduled_at) - 600.0 * part.priority
                        from public.job_queue
                        where part.shared and job_queue.status = 'pending'
                            and job_queue.job_type = part.job_type and job_queue.priority = part.priority
                            and job_queue.share_rank > 0
                            and (job_queue.share_rank, job_queue.scheduled_at, job_queue.id)
                            >= (part.turn, part.at, part.id)
                            and job_queue.scheduled_at >= part.since and job_queue.scheduled_at <= v_now
                        order by job_queue.share_rank, job_queue.scheduled_at, job_queue.id
                        limit p_limit
                    )
                ) as due
                where part.due
            ) as head
            group by head.place
        ) as share;
    end if;

    -- Pass 1 takes each part's share of the best p_limit jobs; pass 2 whatever any part still has, so that no claim
    -- comes back short while a job is free.
    <<claim>>
    foreach v_all in array array[false, true] loop
        v_place := 0;
        foreach v_part in array v_parts loop
            exit when not v_part.due;
            v_place := v_place + 1;
            v_take := case when v_all then v_left else coalesce(v_shares[v_place], 0) end;
            if v_allowances <> '{}' then
                v_provider := (
                    select job_types.provider from public.job_types where job_types.job_type = v_part.job_type
                );
                v_allowed := (v_allowances ->> v_provider)::int;
                v_take := least(v_take, v_allowed);
            end if;
            continue when v_take <= 0;
            with aged as materialized (
                select job_queue.ctid, pg_column_size(job_queue.payload) as size
                from public.job_queue
                where not v_part.shared and job_queue.status = 'pending'
                    and job_queue.job_type = v_part.job_type and job_queue.priority = v_part.priority
                    and job_queue.share_rank = 0 and (job_queue.scheduled_at, job_queue.id) >= (v_part.at, v_part.id)
                    and job_queue.scheduled_at <= v_now
                order by job_queue.scheduled_at, job_queue.id
                limit v_take
                for update skip locked
            ),
            shared as materialized (
                select job_queue.ctid, pg_column_size(job_queue.payload) as size
                from public.job_queue
                where v_part.shared and job_queue.status = 'pending'
                    and job_queue.job_type = v_part.job_type and job_queue.priority = v_part.priority
                    and job_queue.share_rank > 0
                    and (job_queue.share_rank, job_queue.scheduled_at, job_queue.id)
                    >= (v_part.turn, v_part.at, v_part.id)
                    and job_queue.scheduled_at >= v_part.since and job_queue.scheduled_at <= v_now
                order by job_queue.share_rank, job_queue.scheduled_at, job_queue.id
                limit v_take
                for update skip locked
            ),
            -- In the order of the lane, without a sort. What is locked and left out is free again at the commit.
            sized as (
                select
                    taken.ctid as row,
                    row_number() over () as place,
                    sum(taken.size) over (rows unbounded preceding) as total
                from (select * from aged union all select * from shared) as taken
            )
            select
                array_agg(sized.row) filter (
                    where sized.total <= v_bytes or (sized.place = 1 and v_left = p_limit)
                ),
                max(sized.total)
            into v_rows, v_size
            from sized;
            continue when v_size is null;
            v_bytes := v_bytes - v_size;
            return query
            with claimed as (
                update public.job_queue
                set status = 'processing',
                    -- Saturating: a number that a person has set to the maximum must not fail the whole claim.
                    attempt_number = least(job_queue.attempt_number, 2147483646) + 1,
                    lease_token = job_queue.lease_token + 1,
                    lease_expires_at = clock_timestamp() + p_lease,
                    worker_id = p_worker_id,
                    parked = false,
                    started_at = clock_timestamp(),
                    updated_at = clock_timestamp()
                -- TID scan, without the way through an index: these rows are locked, so they do not move.
                where job_queue.ctid = any (v_rows)
                returning job_queue.*
            )
            select
                claimed.id, claimed.job_type, claimed.payload, claimed.attempt_number, claimed.max_attempts,
                claimed.lease_token, claimed.lease_expires_at
            from claimed
            order by claimed.share_rank, claimed.scheduled_at, claimed.id;
            get diagnostics v_taken = row_count;
            v_left := v_left - v_taken;
            if v_allowed is not null and v_taken > 0 then
                v_allowances := v_allowances || jsonb_build_object(v_provider, v_allowed - v_taken);
                perform picture_edge.spend_provider_allowance(v_taken, v_provider);
            end if;
            exit claim when v_bytes < 0;
        end loop;
        exit when v_left = 0 or v_place = 1 or p_limit - v_left = v_seen;
    end loop;
end;
$$;

comment on function public.claim_jobs(int, text, interval, text[]) is
'Claim up to p_limit runnable jobs of p_job_types (null: all), highest priority first, then users in turn, then oldest,
under a lease of p_lease. Ten minutes of waiting count as one point of priority; jobs beyond their provider''s limits
stay where they are. Expired leases are taken back on the way.';

-- The original's function, for both of its forms: the documented one's columns first, then the rest of the row under
-- the field variant's names. A caller by hand renews no lease, so its default is as long as a job may take.
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
    v_id uuid := (select claimed.id from picture_edge.claim_one(p_worker_id, p_lease, p_job_types) as claimed);
begin
    return query -- a statement of its own: the snapshot of the claiming one predates its changes
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
