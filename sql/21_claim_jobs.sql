-- claim_jobs, claim_next_job: hand runnable jobs to one worker each.
-- requeue_expired: take the jobs of dead workers back; every claim does some of it.
-- Called by   functions/process_jobs as service_role
-- Promises    one job, one worker at a time; each claim raises the fencing token; a dead worker's job returns
--             when its lease ends, if attempts remain

create or replace function public.requeue_expired(p_limit int default 100) returns int
language plpgsql
set search_path = ''
as $$
declare
    v_count int;
begin
    with expired as materialized (
        select job_queue.id
        from public.job_queue
        where job_queue.status = 'processing' and job_queue.lease_expires_at < clock_timestamp()
        order by job_queue.id
        limit p_limit
        for update skip locked
    )
    update public.job_queue
    set status = case when job_queue.attempt_number < job_queue.max_attempts then 'pending' else 'failed' end,
        error_message = 'The worker stopped answering',
        errors = job_queue.errors || jsonb_build_object(
            'attempt', job_queue.attempt_number, 'at', clock_timestamp(), 'error', 'The worker stopped answering'
        ),
        scheduled_at = clock_timestamp(),
        completed_at = case when job_queue.attempt_number < job_queue.max_attempts then null else clock_timestamp() end,
        lease_expires_at = null,
        worker_id = null,
        updated_at = clock_timestamp()
    from expired
    where job_queue.id = expired.id;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function public.requeue_expired(int) is
'Return up to p_limit jobs whose lease has ended to the queue, or fail them after their last attempt; how many.';

create or replace function public.claim_jobs(
    p_limit int,
    p_worker_id text default null,
    p_lease interval default '10 seconds'
) returns table (
    id uuid,
    job_type text,
    payload jsonb,
    attempt_number int,
    max_attempts int,
    lease_token bigint
)
language plpgsql
set search_path = ''
set lock_timeout = '3s' -- a locked queue is an error to its caller, not a connection held for ever
as $$
#variable_conflict use_column
begin
    if p_lease is null or p_lease <= interval '0' then
        raise exception using errcode = 'PT400', message = format('p_lease must be positive, got %s', p_lease);
    end if;
    perform public.requeue_expired(greatest(p_limit, 1));
    return query
    with candidate as materialized (
        select job_queue.id
        from public.job_queue
        where job_queue.status = 'pending' and job_queue.scheduled_at <= clock_timestamp()
        order by job_queue.priority desc, job_queue.scheduled_at, job_queue.id
        limit p_limit
        for update skip locked
    )
    update public.job_queue
    set status = 'processing',
        attempt_number = job_queue.attempt_number + 1,
        lease_token = job_queue.lease_token + 1,
        lease_expires_at = clock_timestamp() + p_lease,
        worker_id = p_worker_id,
        started_at = clock_timestamp(),
        updated_at = clock_timestamp()
    from candidate
    where job_queue.id = candidate.id and job_queue.status = 'pending'
    returning
        job_queue.id, job_queue.job_type, job_queue.payload, job_queue.attempt_number,
        job_queue.max_attempts, job_queue.lease_token;
end;
$$;

comment on function public.claim_jobs(int, text, interval) is
'Claim up to p_limit runnable jobs, highest priority first, then oldest, under a lease of p_lease.';

-- The original's function. Whoever calls it by hand does not renew the lease, so it is as long as a job may take.
create or replace function public.claim_next_job() returns table (
    id uuid,
    job_type text,
    payload jsonb,
    attempt_number int,
    max_attempts int,
    lease_token bigint
)
language sql
set search_path = ''
as $$
    select * from public.claim_jobs(1, 'claim_next_job', interval '10 minutes');
$$;

comment on function public.claim_next_job() is 'Claim the next runnable job for ten minutes, or return no row.';

revoke execute on function public.requeue_expired(int) from public, anon, authenticated;
grant execute on function public.requeue_expired(int) to service_role;
revoke execute on function public.claim_jobs(int, text, interval) from public, anon, authenticated;
grant execute on function public.claim_jobs(int, text, interval) to service_role;
revoke execute on function public.claim_next_job() from public, anon, authenticated;
grant execute on function public.claim_next_job() to service_role;
