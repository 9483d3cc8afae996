-- claim_suspect, begin_alone: a job that two workers have died with runs with nothing beside it. claim_one: by hand.
-- Called by   functions/process_jobs as service_role; claim_next_job
-- Promises    a suspect is handed to one worker, which claims nothing beside it until it has ended; only a death
--             while it ran alone proves that the job was the cause, so its neighbours are never failed for it
--
-- share_rank tells: below 0 a suspect, a part of the lane that claim_jobs does not read; -2 once it has begun alone,
-- until it is claimed again.

create or replace function public.claim_suspect(
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
set lock_timeout = '3s' -- this and the rest as in claim_jobs
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
    v_allowed int; -- generate-image jobs that the provider takes at present; null: any number
    v_id uuid;
    v_job_type text;
begin
    if p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = format('p_lease must be positive, got %s', p_lease);
    end if;
    -- The provider's row before any job, as in claim_jobs.
    if exists (
        select from public.job_queue
        where job_queue.status = 'pending' and job_queue.share_rank < 0 and job_queue.scheduled_at <= v_now
            and job_queue.job_type = 'generate-image'
    ) then
        v_allowed := public.provider_allowance();
    end if;
    select job_queue.id, job_queue.job_type into v_id, v_job_type
    from public.job_queue
    where job_queue.status = 'pending' and job_queue.share_rank < 0 and job_queue.scheduled_at <= v_now
        and (p_job_types is null or job_queue.job_type = any (p_job_types))
        and (job_queue.job_type <> 'generate-image' or coalesce(v_allowed > 0, true))
        and not exists (
            select from public.paused_queues where paused_queues.job_type in (job_queue.job_type, '*')
        )
    order by job_queue.scheduled_at, job_queue.id
    limit 1
    for update skip locked;
    if not found then
        return;
    end if;
    if v_allowed is not null and v_job_type = 'generate-image' then
        perform public.spend_provider_allowance(1);
    end if;
    return query
    update public.job_queue
    set status = 'processing',
        attempt_number = job_queue.attempt_number + 1,
        lease_token = job_queue.lease_token + 1,
        lease_expires_at = clock_timestamp() + p_lease,
        worker_id = p_worker_id,
        share_rank = -1,
        started_at = clock_timestamp(),
        updated_at = clock_timestamp()
    where job_queue.id = v_id
    returning
        job_queue.id, job_queue.job_type, job_queue.payload, job_queue.attempt_number, job_queue.max_attempts,
        job_queue.lease_token, job_queue.lease_expires_at;
end;
$$;

comment on function public.claim_suspect(text, interval, text[]) is
'Reserve one due job that two workers have died with, the longest waiting first; claim_jobs hands out none of them. Its
worker ends whatever else it has in hand, calls begin_alone, and claims nothing until the job has ended.';

create or replace function public.begin_alone(
    p_job_id uuid,
    p_lease_token bigint,
    p_lease interval default '10 seconds'
) returns void
language plpgsql
set search_path = ''
as $$
begin
    if p_lease_token is null or p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = 'p_lease_token must be given and p_lease be positive';
    end if;
    perform public.held_job(p_job_id, p_lease_token, '{processing}');
    update public.job_queue
    set share_rank = -2, lease_expires_at = clock_timestamp() + p_lease, updated_at = clock_timestamp()
    where job_queue.id = p_job_id;
end;
$$;

comment on function public.begin_alone(uuid, bigint, interval) is
'Note that a suspect begins to run with nothing beside it: if its worker dies now, the job was the cause, and is failed
as poisonous. A stale token is refused (PT409).';

create or replace function public.claim_one(p_worker_id text, p_lease interval, p_job_types text[] default null)
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
    -- Whoever claims one job by hand has nothing beside it.
    for id, job_type, payload, attempt_number, max_attempts, lease_token, lease_expires_at in
        select * from public.claim_suspect(p_worker_id, p_lease, p_job_types)
    loop
        perform public.begin_alone(id, lease_token, p_lease);
        return next;
    end loop;
end;
$$;

comment on function public.claim_one(text, interval, text[]) is
'Claim one job for somebody who runs one at a time: the next runnable one, else one that two workers have died with.';

revoke execute on function public.claim_suspect(text, interval, text[]) from public, anon, authenticated;
grant execute on function public.claim_suspect(text, interval, text[]) to service_role;
revoke execute on function public.begin_alone(uuid, bigint, interval) from public, anon, authenticated;
grant execute on function public.begin_alone(uuid, bigint, interval) to service_role;
revoke execute on function public.claim_one(text, interval, text[]) from public, anon, authenticated;
grant execute on function public.claim_one(text, interval, text[]) to service_role;
