-- complete_job, fail into a retry, extend_leases, release_job: what may happen to a claimed job.
-- Called by   functions/process_jobs as service_role, always with the lease token; people in psql without
-- Promises    a worker that lost its lease changes nothing and is told so; repeating a call whose answer was
--             lost changes nothing and succeeds

create or replace function public.held_job(
    p_job_id uuid,
    p_lease_token bigint,
    p_statuses text[] default '{processing, completed}'
) returns public.job_queue
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue;
begin
    select * into v_job from public.job_queue where job_queue.id = p_job_id for update;
    if not found then
        raise exception using errcode = 'PT404', message = format('Job %s not found', p_job_id);
    end if;
    if p_lease_token is not null
        and (v_job.lease_token <> p_lease_token or v_job.status <> all (p_statuses)) then
        raise exception using
            errcode = 'PT409',
            message = format('Lease %s of job %s is no longer held', p_lease_token, p_job_id);
    end if;
    return v_job;
end;
$$;

comment on function public.held_job(uuid, bigint, text[]) is
'Lock a job and return it, refusing (PT409) a fencing token that is not its newest or a status not in p_statuses.
completed is among them so that a step can be repeated. A null token is a person''s and is never refused.';

create or replace function public.complete_job(
    p_job_id uuid,
    p_result jsonb default null,
    p_error text default null,
    p_lease_token bigint default null,
    p_retry boolean default true,
    p_retry_after interval default null
) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.held_job(
        p_job_id, p_lease_token, '{pending, processing, completed, failed}' -- all that an earlier call may have left
    );
    v_free boolean := p_retry_after is not null; -- the provider asked to wait: that costs no attempt
    v_again boolean := p_retry and (v_free or v_job.attempt_number < v_job.max_attempts);
begin
    if v_job.status <> 'processing' and (p_lease_token is not null or v_job.status = 'completed') then
        return; -- done before: the answer to the first call was lost, or a person has reset the job since
    end if;
    if p_error is null then
        update public.job_queue
        set status = 'completed', result = p_result, error_message = null, completed_at = clock_timestamp(),
            lease_expires_at = null, updated_at = clock_timestamp()
        where job_queue.id = p_job_id;
        return;
    end if;
    update public.job_queue
    set status = case when v_again then 'pending' else 'failed' end,
        error_message = p_error,
        errors = job_queue.errors || jsonb_build_object(
            'attempt', job_queue.attempt_number, 'at', clock_timestamp(), 'error', p_error
        ),
        attempt_number = job_queue.attempt_number - (v_again and v_free)::int,
        -- Exponential backoff with full jitter: 2, 4, 8 … seconds at most, never above five minutes.
        -- A failed job keeps its time, so that a person's reset to pending runs it at once.
        scheduled_at = case when v_again then clock_timestamp() + coalesce(
            p_retry_after,
            random() * least(2 ^ least(job_queue.attempt_number, 20), 300) * interval '1 second'
        ) else job_queue.scheduled_at end,
        completed_at = case when v_again then null else clock_timestamp() end,
        lease_expires_at = null,
        worker_id = null,
        updated_at = clock_timestamp()
    where job_queue.id = p_job_id;
end;
$$;

comment on function public.complete_job(uuid, jsonb, text, bigint, boolean, interval) is
'End an attempt: completed without p_error; else back to pending with backoff while attempts remain, or failed.
p_retry false fails at once; p_retry_after is the provider''s own delay and costs no attempt.';

create or replace function public.extend_leases(
    p_job_ids uuid[],
    p_lease_tokens bigint[],
    p_lease interval default '10 seconds'
) returns setof uuid
language sql
set search_path = ''
as $$
    update public.job_queue
    set lease_expires_at = clock_timestamp() + p_lease, updated_at = clock_timestamp()
    from unnest(p_job_ids, p_lease_tokens) as held (id, token)
    where job_queue.id = held.id and job_queue.lease_token = held.token and job_queue.status = 'processing'
    returning job_queue.id;
$$;

comment on function public.extend_leases(uuid[], bigint[], interval) is
'Renew the leases of a worker''s jobs. A job whose id does not come back is no longer the caller''s.';

create or replace function public.release_job(p_job_id uuid, p_lease_token bigint) returns void
language sql
set search_path = ''
as $$
    update public.job_queue
    set status = 'pending', attempt_number = greatest(job_queue.attempt_number - 1, 0),
        scheduled_at = clock_timestamp(), lease_expires_at = null, worker_id = null, updated_at = clock_timestamp()
    where job_queue.id = p_job_id and job_queue.lease_token = p_lease_token and job_queue.status = 'processing';
$$;

comment on function public.release_job(uuid, bigint) is
'Give an interrupted job back at once; the attempt does not count. A stale token changes nothing.';

revoke execute on function public.held_job(uuid, bigint, text[]) from public, anon, authenticated;
grant execute on function public.held_job(uuid, bigint, text[]) to service_role;
revoke execute on function public.complete_job(uuid, jsonb, text, bigint, boolean, interval)
from public, anon, authenticated;
grant execute on function public.complete_job(uuid, jsonb, text, bigint, boolean, interval) to service_role;
revoke execute on function public.extend_leases(uuid[], bigint[], interval) from public, anon, authenticated;
grant execute on function public.extend_leases(uuid[], bigint[], interval) to service_role;
revoke execute on function public.release_job(uuid, bigint) from public, anon, authenticated;
grant execute on function public.release_job(uuid, bigint) to service_role;
