-- complete_jobs, complete_job: end an attempt, with a result or with an error. backoff: the wait before the next one.
-- Called by   functions/process_jobs as service_role, always with the lease token; operators in psql without
-- Promises    a stale fencing token changes nothing, and its id is not returned; idempotent: a call whose answer was
--             lost may be repeated, and succeeds without a change; every failed attempt is kept in errors

create or replace function picture_edge.backoff(p_attempt int) returns interval
language sql
immutable
set search_path = ''
as $$
    -- The exponent is capped as well: a float overflows at 1024.
    select least(2 ^ least(p_attempt, 20), 300) * interval '1 second';
$$;

comment on function picture_edge.backoff(int) is
'Exponential backoff: the longest wait after an attempt, 2, 4, 8 … seconds, capped at five minutes.';

create or replace function public.complete_jobs(
    p_job_ids uuid[],
    p_lease_tokens bigint[],
    p_results jsonb[] default null,
    p_errors text[] default null,
    p_retries boolean[] default null,
    p_retry_afters interval[] default null,
    p_error_classes text[] default null
) returns setof uuid
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan -- for the reasons in claim_jobs
set enable_seqscan = off -- each job by its primary key, also where the plan was made while the table was small
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_failing boolean := coalesce(cardinality(array_remove(p_errors, null)) > 0, false);
    v_ended uuid[];
    v_failed uuid[];
begin
    if coalesce(cardinality(p_job_ids) <> cardinality(p_lease_tokens), true) then
        raise exception using errcode = 'PT400', message = 'p_job_ids and p_lease_tokens must have the same length';
    end if;
    if v_failing then -- two updates below: one lock order for all statements that lock several jobs, so no deadlock
        perform from unnest(p_job_ids, p_lease_tokens) as ending (job_id, token)
        inner join public.job_queue on job_queue.id = ending.job_id and job_queue.lease_token = ending.token
        order by job_queue.id
        for update of job_queue;
    end if;
    with completed as (
        update public.job_queue
        set status = 'completed', result = ending.result, error_message = null, error_details = null, parked = false,
            completed_at = clock_timestamp(), lease_expires_at = null, updated_at = clock_timestamp()
        from (
            select ending.* from unnest(p_job_ids, p_lease_tokens, p_results, p_errors)
                as ending (job_id, token, result, error)
            where ending.error is null
            order by ending.job_id -- the same lock order
        ) as ending
        where job_queue.id = ending.job_id and job_queue.lease_token = ending.token
            and job_queue.status || '' = 'processing' -- by primary key: not by the index of all running jobs
        returning job_queue.id
    )
    select array_agg(completed.id) into v_ended from completed;
    if v_failing then
        with failed as (
            update public.job_queue
            set status = case when ending.again then 'pending' else 'failed' end,
                error_message = ending.error,
                error_details = null, -- an earlier attempt's; complete_job may write this one's
                errors = case when jsonb_array_length(job_queue.errors) >= 100 then job_queue.errors - 0
                    else job_queue.errors end || jsonb_build_object(
                    'attempt', job_queue.attempt_number, 'at', clock_timestamp(), 'text', ending.error,
                    'class', coalesce(
                        ending.class,
                        case when ending.free then 'busy' when ending.retry is false then 'permanent'
                            else 'transient' end
                    ),
                    'lease_token', ending.token
                ),
                attempt_number = job_queue.attempt_number - (ending.again and ending.free)::int,
                -- Exponential backoff with full jitter: 2, 4, 8 … seconds at most, never above five minutes.
                -- A failed job keeps its time, so that a person's reset to pending runs it at once.
                scheduled_at = case
                    when not ending.again then job_queue.scheduled_at
                    when ending.free then clock_timestamp() + greatest(ending.retry_after, interval '0')
                    else clock_timestamp() + random() * picture_edge.backoff(job_queue.attempt_number)
                end,
                -- A retry goes by age, as its turn is spent; a suspect (sql/25_suspects.sql) remains one.
                share_rank = case when ending.again then least(job_queue.share_rank, 0) else job_queue.share_rank end,
                completed_at = case when not ending.again then clock_timestamp() end,
                parked = false,
                lease_expires_at = null,
                updated_at = clock_timestamp()
            from (
                select
                    told.*,
                    told.retry_after is not null as free, -- the provider's Retry-After costs no attempt
                    coalesce(told.retry, true)
                    and (told.retry_after is not null or held.attempt_number < held.max_attempts) as again
                from unnest(
                    p_job_ids, p_lease_tokens, p_errors, p_retries, p_retry_afters, p_error_classes
                ) as told (job_id, token, error, retry, retry_after, class)
                inner join public.job_queue as held on held.id = told.job_id and held.lease_token = told.token
                where told.error is not null
            ) as ending
            where job_queue.id = ending.job_id and job_queue.lease_token = ending.token
                and job_queue.status || '' = 'processing'
            returning job_queue.id
        )
        select array_agg(failed.id) into v_failed from failed;
        v_ended := v_ended || v_failed;
    end if;
    return query select * from unnest(v_ended);
    if cardinality(v_ended) = cardinality(p_job_ids) then
        return;
    end if;
    -- Idempotent: this lease has ended the attempt in this way already, and the answer was lost.
    return query
    select job_queue.id
    from unnest(p_job_ids, p_lease_tokens, p_errors) as ending (job_id, token, error)
    inner join public.job_queue on job_queue.id = ending.job_id and job_queue.lease_token = ending.token
    where job_queue.id <> all (coalesce(v_ended, '{}'))
        and case when ending.error is null then job_queue.status = 'completed'
            else job_queue.errors @> jsonb_build_array(jsonb_build_object('lease_token', ending.token)) end
        and job_queue.status <> 'processing';
end;
$$;

comment on function public.complete_jobs(uuid[], bigint[], jsonb[], text[], boolean[], interval[], text[]) is
'End many attempts in one statement, each under its own lease token; the other arrays may be shorter or null. Returns
the ids of those that have ended as told; a job that is missing had a stale token, or had ended otherwise, and is
unchanged. Each ends as by complete_job.';

create or replace function public.complete_job(
    p_job_id uuid,
    p_result jsonb default null,
    p_error text default null,
    p_lease_token bigint default null,
    p_retry boolean default true,
    p_retry_after interval default null,
    p_error_class text default null,
    p_error_message text default null,
    p_error_details jsonb default null
) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_token bigint := p_lease_token;
    v_job public.job_queue;
begin
    if v_token is null then
        v_job := picture_edge.held_job(p_job_id, null);
        if v_job.status in ('completed', 'failed', 'cancelled') then
            raise notice 'Job % is % already: nothing changed', p_job_id, v_job.status;
            return;
        end if;
        -- An operator ends a pending job, or takes over a running one: its worker's token is stale from here on.
        v_token := v_job.lease_token + 1;
        if v_job.status = 'processing' then -- without the status: a HOT update, and no trigger
            update public.job_queue set lease_token = v_token where job_queue.id = p_job_id;
        else
            update public.job_queue set status = 'processing', lease_token = v_token where job_queue.id = p_job_id;
        end if;
    end if;
    perform public.complete_jobs(
        array[p_job_id], array[v_token], array[p_result], array[coalesce(p_error, p_error_message)],
        array[p_retry], array[p_retry_after], array[p_error_class]
    );
    if not found then
        perform picture_edge.held_job(p_job_id, v_token, '{}');
    end if;
    if p_error_message is not null then -- the field variant: details are kept, backoff is 2, 4, 8 s without jitter
        update public.job_queue
        set error_details = p_error_details,
            scheduled_at = case
                when job_queue.status = 'pending' and p_retry_after is null
                    then clock_timestamp() + picture_edge.backoff(job_queue.attempt_number)
                else job_queue.scheduled_at
            end
        where job_queue.id = p_job_id and job_queue.lease_token = v_token;
    end if;
end;
$$;

comment on function public.complete_job(uuid, jsonb, text, bigint, boolean, interval, text, text, jsonb) is
'End an attempt: completed without p_error; else back to pending with backoff while attempts remain, or failed.
p_retry false fails at once; p_retry_after is the provider''s own delay and costs no attempt; p_error_class is kept in
errors (busy, permanent or transient unless given). A stale p_lease_token is refused (PT409), an unknown job is PT404.
The field variant''s p_error_message is an error that waits 2, 4, 8 s, with p_error_details beside it.';

-- Overloads by position: the two forms differ in what the second argument is, and an untyped literal could be either.
-- It keeps the meaning that it had in this database before. Without argument names, for the reason in
-- sql/22_enqueue_job.sql.
do $do$
begin
    if not exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.job_queue'::regclass and attname = 'attempts' -- the field variant's
    ) then
        return;
    end if;

    create or replace function public.complete_job(uuid, text, jsonb = null) returns void
    language sql
    set search_path = ''
    as $$
        select public.complete_job($1, p_error_message => $2, p_error_details => $3);
    $$;

    comment on function public.complete_job(uuid, text, jsonb) is
    'The field variant by position: complete_job(job_id, error_message, error_details).';

    -- The last two both untyped: overload resolution prefers text, so this overload decides between the two forms.
    -- Details without an error make no sense, so (null, x) is the documented form's error without a result.
    create or replace function public.complete_job(uuid, text, text) returns void
    language sql
    set search_path = ''
    as $$
        select public.complete_job(
            $1,
            p_error => case when $2 is null then $3 end,
            p_error_message => $2,
            p_error_details => case when $2 is not null then $3::jsonb end
        );
    $$;

    comment on function public.complete_job(uuid, text, text) is
    'The field variant by position, from untyped literals; complete_job(job_id, null, error) is the documented form.';

    revoke execute on function public.complete_job(uuid, text, jsonb) from public, anon, authenticated;
    grant execute on function public.complete_job(uuid, text, jsonb) to service_role;
    revoke execute on function public.complete_job(uuid, text, text) from public, anon, authenticated;
    grant execute on function public.complete_job(uuid, text, text) to service_role;
end;
$do$;

revoke execute on function picture_edge.backoff(int) from public, anon, authenticated;
grant execute on function picture_edge.backoff(int) to service_role;
revoke execute on function public.complete_jobs(uuid[], bigint[], jsonb[], text[], boolean[], interval[], text[])
from public, anon, authenticated;
grant execute on function public.complete_jobs(
    uuid[], bigint[], jsonb[], text[], boolean[], interval[], text[]
) to service_role;
revoke execute on function public.complete_job(uuid, jsonb, text, bigint, boolean, interval, text, text, jsonb)
from public, anon, authenticated;
grant execute on function public.complete_job(
    uuid, jsonb, text, bigint, boolean, interval, text, text, jsonb
) to service_role;
