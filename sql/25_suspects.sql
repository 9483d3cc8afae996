-- claim_suspect, begin_alone: quarantine for suspected poison messages. A job that two workers have died with runs with
-- nothing beside it. claim_one: the next job for a caller that runs one at a time.
-- Called by   functions/process_jobs as service_role; claim_next_job
-- Promises    a suspect is handed to one worker, which claims nothing beside it until it has ended; only a death
--             while the job ran alone proves that it was the cause, so its neighbours are never failed for it
--
-- share_rank is the mark. Below 0: a suspect, in a part of the lane that claim_jobs does not read. -2: it has begun to
-- run alone, and stays so until the next claim.

create or replace function picture_edge.claim_suspect(
    p_worker_id text,
    p_lease interval,
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
set lock_timeout = '3s' -- these settings for the reasons in claim_jobs
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
    v_provider text;
    v_allowances jsonb := '{}'; -- provider → jobs that may still be claimed for it; null: any number
    v_id uuid;
begin
    if p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = format('p_lease must be positive, got %s', p_lease);
    end if;
    -- Lock order as in claim_jobs: providers before any job.
    for v_provider in
        select distinct job_types.provider
        from public.job_types
        where job_types.provider is not null and (
            select true from public.job_queue
            where job_queue.status = 'pending' and job_queue.share_rank < 0 and job_queue.scheduled_at <= v_now
                and job_queue.job_type = job_types.job_type
            limit 1
        )
        order by job_types.provider
    loop
        v_allowances := v_allowances || jsonb_build_object(v_provider, picture_edge.provider_allowance(v_provider));
    end loop;
    select
        job_queue.id,
        (select job_types.provider from public.job_types where job_types.job_type = job_queue.job_type)
    into v_id, v_provider
    from public.job_queue
    where job_queue.status = 'pending' and job_queue.share_rank < 0 and job_queue.scheduled_at <= v_now
        and (p_job_types is null or job_queue.job_type = any (p_job_types))
        and coalesce(
            (
                v_allowances
                ->> (select job_types.provider from public.job_types where job_types.job_type = job_queue.job_type)
            )::int > 0,
            true
        )
        and not exists (
            select from public.paused_queues where paused_queues.job_type in (job_queue.job_type, '*')
        )
    order by job_queue.scheduled_at, job_queue.id
    limit 1
    for update skip locked;
    if not found then
        return;
    end if;
    if v_allowances ->> v_provider is not null then
        perform picture_edge.spend_provider_allowance(1, v_provider);
    end if;
    return query
    update public.job_queue
    set status = 'processing',
        attempt_number = least(job_queue.attempt_number, 2147483646) + 1, -- saturating, as in claim_jobs
        lease_token = job_queue.lease_token + 1,
        lease_expires_at = clock_timestamp() + p_lease,
        worker_id = p_worker_id,
        share_rank = -1,
        parked = false,
        started_at = clock_timestamp(),
        updated_at = clock_timestamp()
    where job_queue.id = v_id
    returning
        job_queue.id, job_queue.job_type, job_queue.payload, job_queue.attempt_number, job_queue.max_attempts,
        job_queue.lease_token, job_queue.lease_expires_at;
end;
$$;

comment on function picture_edge.claim_suspect(text, interval, text[]) is
'Reserve one due job that two workers have died with, the longest waiting first; claim_jobs hands out none of them. Its
worker ends all its other jobs, calls begin_alone, and claims nothing until the job has ended.';

create or replace function picture_edge.begin_alone(
    p_job_id uuid,
    p_lease_token bigint,
    p_lease interval
) returns void
language plpgsql
set search_path = ''
as $$
begin
    if p_lease_token is null or p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = 'p_lease_token must be given and p_lease be positive';
    end if;
    perform picture_edge.held_job(p_job_id, p_lease_token, '{processing}');
    update public.job_queue
    set share_rank = -2, lease_expires_at = clock_timestamp() + p_lease, updated_at = clock_timestamp()
    where job_queue.id = p_job_id;
end;
$$;

comment on function picture_edge.begin_alone(uuid, bigint, interval) is
'Note that a suspect begins to run with nothing beside it: if its worker dies now, the job was the cause, and is failed
as poisonous. A stale token is refused (PT409).';

create or replace function picture_edge.claim_one(p_worker_id text, p_lease interval, p_job_types text[] default null)
returns table (
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
as $$
begin
    return query select * from public.claim_jobs(1, p_worker_id, p_lease, p_job_types);
    if found then
        return;
    end if;
    -- A caller of claim_one runs one job at a time, so a suspect is alone from the start.
    for id, job_type, payload, attempt_number, max_attempts, lease_token, lease_expires_at in
        select * from picture_edge.claim_suspect(p_worker_id, p_lease, p_job_types)
    loop
        perform picture_edge.begin_alone(id, lease_token, p_lease);
        return next;
    end loop;
end;
$$;

comment on function picture_edge.claim_one(text, interval, text[]) is
'Claim one job for a caller that runs one at a time: the next runnable one, else one that two workers have died with.';

revoke execute on function picture_edge.claim_suspect(text, interval, text[]) from public, anon, authenticated;
grant execute on function picture_edge.claim_suspect(text, interval, text[]) to service_role;
revoke execute on function picture_edge.begin_alone(uuid, bigint, interval) from public, anon, authenticated;
grant execute on function picture_edge.begin_alone(uuid, bigint, interval) to service_role;
revoke execute on function picture_edge.claim_one(text, interval, text[]) from public, anon, authenticated;
grant execute on function picture_edge.claim_one(text, interval, text[]) to service_role;
