-- extend_leases, extend_lease, release_job: a worker renews or gives up its lease. requeue_expired: crash recovery.
-- Called by   functions/process_jobs as service_role; claims call requeue_expired, at a full look (sql/23_lanes.sql)
-- Promises    a lease taken over is never extended or released by its former holder; a dead worker's job returns when
--             its lease ends, and that costs no attempt; a job that two workers have died with runs alone the next time
--             (sql/25_suspects.sql), and is failed only if its worker dies then

create or replace function picture_edge.extend_leases(
    p_job_ids uuid[],
    p_lease_tokens bigint[],
    p_lease interval
) returns setof uuid
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(cardinality(p_job_ids) <> cardinality(p_lease_tokens), true) then
        raise exception using errcode = 'PT400', message = 'p_job_ids and p_lease_tokens must have the same length';
    end if;
    if p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = format('p_lease must be positive, got %s', p_lease);
    end if;
    return query
    with held as materialized (
        select job_queue.id
        from unnest(p_job_ids, p_lease_tokens) as lease (job_id, token)
        inner join public.job_queue on job_queue.id = lease.job_id and job_queue.lease_token = lease.token
        where job_queue.status = 'processing'
        order by job_queue.id -- one lock order for all statements that lock several jobs: no deadlock
        for update of job_queue
    )
    update public.job_queue
    set lease_expires_at = clock_timestamp() + p_lease, updated_at = clock_timestamp()
    from held
    where job_queue.id = held.id
    returning job_queue.id;
end;
$$;

comment on function picture_edge.extend_leases(uuid[], bigint[], interval) is
'Renew the leases of a worker''s jobs. A job whose id is not returned is no longer the caller''s.';

create or replace function picture_edge.extend_lease(
    p_job_id uuid,
    p_lease_token bigint,
    p_lease interval
) returns timestamptz
language plpgsql
set search_path = ''
as $$
declare
    v_expires timestamptz;
begin
    if p_lease_token is null or p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = 'p_lease_token must be given and p_lease be positive';
    end if;
    perform picture_edge.held_job(p_job_id, p_lease_token, '{processing}');
    update public.job_queue
    set lease_expires_at = clock_timestamp() + p_lease, updated_at = clock_timestamp()
    where job_queue.id = p_job_id
    returning job_queue.lease_expires_at into v_expires;
    return v_expires;
end;
$$;

comment on function picture_edge.extend_lease(uuid, bigint, interval) is
'Renew one lease; returns when it ends now. A stale token is refused (PT409).';

create or replace function picture_edge.release_job(p_job_id uuid, p_lease_token bigint) returns void
language plpgsql
set search_path = ''
as $$
begin
    if p_lease_token is null then
        raise exception using errcode = 'PT400', message = 'p_lease_token must be given';
    end if;
    perform picture_edge.held_job(p_job_id, p_lease_token, '{processing, pending}'); -- pending: idempotent
    update public.job_queue
    set status = 'pending', attempt_number = greatest(job_queue.attempt_number - 1, 0), parked = false,
        scheduled_at = clock_timestamp(), lease_expires_at = null, updated_at = clock_timestamp()
    where job_queue.id = p_job_id and job_queue.status = 'processing';
    perform picture_edge.wake_workers();
end;
$$;

comment on function picture_edge.release_job(uuid, bigint) is
'Give an interrupted job back at once; the attempt does not count. A stale token is refused (PT409).';

create or replace function picture_edge.requeue_expired(p_limit int default 1000, p_examine int default null) returns
int language plpgsql
set search_path = ''
set enable_seqscan = off -- these settings for the reasons in claim_jobs
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_from int := floor(random() * 4294967296 - 2147483648); -- any hash
    v_expired uuid[];
    v_count int;
begin
    -- With p_examine: a bounded sample, that many running jobs from a random key on, wrapping around. A claim pays a
    -- constant for it, and no run of healthy jobs can hide the expired ones for long.
    with page as materialized (
        (
            select job_queue.id, job_queue.lease_expires_at
            from public.job_queue
            where job_queue.status = 'processing' and uuid_hash(job_queue.id) >= v_from
            order by uuid_hash(job_queue.id)
            limit p_examine
        )
        union all
        (
            select job_queue.id, job_queue.lease_expires_at
            from public.job_queue
            where job_queue.status = 'processing' and uuid_hash(job_queue.id) < v_from
            order by uuid_hash(job_queue.id)
            limit p_examine
        )
        limit p_examine
    )
    select array_agg(page.id) into v_expired from page where page.lease_expires_at < clock_timestamp();
    if v_expired is null then -- as a rule
        return 0;
    end if;
    with expired as materialized (
        select
            job_queue.id,
            job_queue.parked, -- past its prediction's time, as no poller was up: no worker has died
            job_queue.share_rank = -2 as poisonous -- it ran alone: nothing else can have been the cause
        from public.job_queue
        -- Fetch by primary key: no plan can scan all running jobs instead.
        where job_queue.id = any (v_expired)
            and job_queue.status = 'processing' and job_queue.lease_expires_at < clock_timestamp()
        order by job_queue.id
        limit p_limit
        for update skip locked
    ),
    unparked as (
        update public.job_queue
        set status = 'pending', attempt_number = greatest(job_queue.attempt_number - 1, 0), parked = false,
            scheduled_at = clock_timestamp(), lease_expires_at = null, updated_at = clock_timestamp()
        from expired
        where job_queue.id = expired.id and expired.parked
        returning 1
    ),
    described as (
        select expired.*, case when expired.poisonous
            then 'Poisonous: three of its workers stopped answering, the last one while it ran alone'
            else 'The worker stopped answering' end as error
        from expired
        where not expired.parked
    ),
    crashed as (
        update public.job_queue
        set status = case when described.poisonous then 'failed' else 'pending' end,
            error_message = described.error,
            errors = job_queue.errors || jsonb_build_object(
                'attempt', job_queue.attempt_number, 'at', clock_timestamp(), 'class', 'crash', 'text', described.error
            ),
            crash_count = job_queue.crash_count + 1,
            -- A death that is not proven the job's own doing costs no attempt: a job of one attempt survives its
            -- neighbours.
            attempt_number = case when described.poisonous then job_queue.attempt_number
                else greatest(job_queue.attempt_number - 1, 0) end,
            share_rank = case when job_queue.crash_count >= 1 then -1 else job_queue.share_rank end,
            scheduled_at = case when described.poisonous then job_queue.scheduled_at else clock_timestamp() end,
            completed_at = case when described.poisonous then clock_timestamp() end,
            lease_expires_at = null,
            updated_at = clock_timestamp()
        from described
        where job_queue.id = described.id
        returning 1
    )
    select (select count(*) from unparked) + (select count(*) from crashed) into v_count;
    perform nextval('picture_edge.leases_expired') -- for /metrics
    from generate_series(1, v_count)
    where has_sequence_privilege('picture_edge.leases_expired', 'usage'); -- a role of the project's own may lack it
    return v_count;
end;
$$;

comment on function picture_edge.requeue_expired(int, int) is
'Return up to p_limit jobs whose lease has expired to the queue, their attempt uncounted; how many. A job that two
workers have died with runs alone from then on, and is failed if its worker dies then. p_examine bounds how many running
jobs are looked at (null: all).';

revoke execute on function picture_edge.extend_leases(uuid[], bigint[], interval) from public, anon, authenticated;
grant execute on function picture_edge.extend_leases(uuid[], bigint[], interval) to service_role;
revoke execute on function picture_edge.extend_lease(uuid, bigint, interval) from public, anon, authenticated;
grant execute on function picture_edge.extend_lease(uuid, bigint, interval) to service_role;
revoke execute on function picture_edge.release_job(uuid, bigint) from public, anon, authenticated;
grant execute on function picture_edge.release_job(uuid, bigint) to service_role;
revoke execute on function picture_edge.requeue_expired(int, int) from public, anon, authenticated;
grant execute on function picture_edge.requeue_expired(int, int) to service_role;
