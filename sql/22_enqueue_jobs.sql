-- enqueue_jobs: put many jobs into the queue in one statement, as enqueue_job does one.
-- insert_jobs: the statement itself, for start_generations too.
-- Called by   operators, producers of many jobs
-- Promises    all or none (atomic), in the order of the arrays; users' turns and dedupe keys as if enqueued one by one;
--             two calls with the same keys never deadlock

create or replace function picture_edge.insert_jobs(
    p_job_types text[],
    p_payloads jsonb[],
    p_priorities int[],
    p_max_attempts int[],
    p_scheduled_ats timestamptz[],
    p_dedupe_keys text[],
    p_created_bys uuid[]
) returns uuid[]
language plpgsql
set search_path = ''
set jit = off
set plan_cache_mode = force_generic_plan -- planned once a session: planning takes longer than the statement itself
set enable_seqscan = off -- lanes are read by their indexes, also with a plan from when they were empty
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_kept boolean[]; -- whether a key's job is there already, or is inserted for an earlier place
    v_place int;
    v_ids uuid[];
    v_due boolean;
begin
    if p_dedupe_keys is not null then
        v_kept := array(
            select
                given.dedupe_key is not null and (
                    row_number() over (partition by given.job_type, given.dedupe_key order by given.place) > 1
                    or exists (
                        select from public.job_queue
                        where job_queue.job_type = given.job_type and job_queue.dedupe_key = given.dedupe_key
                            and job_queue.status in ('pending', 'processing')
                    )
                )
            from unnest(p_job_types, p_dedupe_keys) with ordinality as given (job_type, dedupe_key, place)
            order by given.place
        );
    end if;
    with given as materialized (
        select
            gen_random_uuid() as id,
            asked.place,
            asked.job_type,
            asked.payload,
            coalesce(asked.priority, 0) as priority,
            coalesce(asked.max_attempts, 3) as max_attempts,
            -- A microsecond apart: jobs of one statement go in its order.
            coalesce(asked.scheduled_at, v_now + asked.place * interval '1 microsecond') as scheduled_at,
            asked.dedupe_key,
            asked.created_by,
            asked.kept is not true as is_new,
            coalesce(asked.scheduled_at <= v_now, true) as is_due
        from unnest(
            p_job_types, p_payloads, p_priorities, p_max_attempts, p_scheduled_ats, p_dedupe_keys, p_created_bys, v_kept
        ) with ordinality as asked (
            job_type, payload, priority, max_attempts, scheduled_at, dedupe_key, created_by, kept, place
        )
    ),
    inserted as (
        insert into public.job_queue (
            id, job_type, payload, priority, max_attempts, scheduled_at, dedupe_key, created_by, share_rank
        )
        select
            given.id, given.job_type, given.payload, given.priority, given.max_attempts, given.scheduled_at,
            given.dedupe_key, given.created_by,
            case
                when given.created_by is null or not given.is_due then 0
                -- Start-time fair queueing, as in enqueue_job; the batch's own jobs of the user follow each other.
                else greatest(
                    (
                        select job_queue.share_rank
                        from public.job_queue
                        where job_queue.status = 'pending' and job_queue.job_type = given.job_type
                            and job_queue.priority = given.priority and job_queue.share_rank > 0
                        order by job_queue.share_rank
                        limit 1
                    ),
                    (
                        select job_queue.share_rank + 1
                        from public.job_queue
                        where job_queue.created_by = given.created_by and job_queue.status = 'pending'
                            and job_queue.job_type = given.job_type and job_queue.priority = given.priority
                            and job_queue.share_rank > 0
                        order by job_queue.share_rank desc
                        limit 1
                    ),
                    1
                ) - 1 + row_number() over (
                    partition by given.job_type, given.priority, given.created_by, given.is_due order by given.place
                )
            end
        from given
        where given.is_new
        order by given.job_type, given.dedupe_key, given.place -- one lock order for keys
        on conflict (job_type, dedupe_key)
        where dedupe_key is not null and status in ('pending', 'processing') do nothing
    )
    select array_agg(given.id order by given.place), bool_or(given.is_new and given.is_due)
    into v_ids, v_due
    from given;
    if v_due then
        perform picture_edge.wake_workers();
    end if;
    if p_dedupe_keys is not null then
        -- A key's job: the one that was there, the one of an earlier place, or ours.
        v_ids := array(
            select case when given.dedupe_key is null then given.id else (
                select job_queue.id
                from public.job_queue
                where job_queue.job_type = given.job_type and job_queue.dedupe_key = given.dedupe_key
                    and job_queue.status in ('pending', 'processing')
            ) end
            from unnest(v_ids, p_job_types, p_dedupe_keys) with ordinality as given (id, job_type, dedupe_key, place)
            order by given.place
        );
        foreach v_place in array array_positions(v_ids, null) loop -- it has ended meanwhile: insert again
            v_ids[v_place] := public.enqueue_job(
                p_job_types[v_place], p_payloads[v_place], coalesce(p_priorities[v_place], 0),
                coalesce(p_max_attempts[v_place], 3), p_scheduled_ats[v_place], p_dedupe_keys[v_place],
                p_created_bys[v_place]
            );
        end loop;
    end if;
    return v_ids;
end;
$$;

comment on function picture_edge.insert_jobs(text[], jsonb[], int[], int[], timestamptz[], text[], uuid[]) is
'enqueue_jobs without its checks. Returns the ids in order.';

create or replace function public.enqueue_jobs(
    p_job_types text[],
    p_payloads jsonb[],
    p_priorities int[] default null,
    p_max_attempts int[] default null,
    p_scheduled_ats timestamptz[] default null,
    p_dedupe_keys text[] default null,
    p_created_bys uuid[] default null
) returns setof uuid
language plpgsql
set search_path = ''
set lock_timeout = '3s' -- fail fast: a locked queue is an error to its caller, not a connection held for ever
as $$
declare
    v_fault text;
begin
    if cardinality(p_job_types) is distinct from cardinality(p_payloads)
        or cardinality(p_job_types) <> any (array[
            cardinality(p_priorities), cardinality(p_max_attempts), cardinality(p_scheduled_ats),
            cardinality(p_dedupe_keys), cardinality(p_created_bys)
        ]) then
        raise exception using errcode = 'PT400', message = 'The arrays must have one element for each job, or be null';
    end if;
    select case
        when coalesce(btrim(given.job_type), '') = '' then format('p_job_types[%s] must not be empty', given.place)
        when coalesce(jsonb_typeof(given.payload), '') <> 'object'
            then format('p_payloads[%s] must be a JSON object', given.place)
        else format('p_max_attempts[%s] must be 1 or more', given.place)
    end into v_fault
    from unnest(p_job_types, p_payloads, p_max_attempts) with ordinality as given (
        job_type, payload, max_attempts, place
    )
    where coalesce(btrim(given.job_type), '') = '' or coalesce(jsonb_typeof(given.payload), '') <> 'object'
        or given.max_attempts < 1
    order by given.place
    limit 1;
    if found then
        raise exception using errcode = 'PT400', message = v_fault;
    end if;
    return query select * from unnest(picture_edge.insert_jobs(
        p_job_types, p_payloads, p_priorities, p_max_attempts, p_scheduled_ats, p_dedupe_keys, p_created_bys
    ));
    perform picture_edge.notice_unhandled(given.job_type)
    from (select distinct types.job_type from unnest(p_job_types) as types (job_type)) as given
    where not exists (select from public.job_types where job_types.job_type = given.job_type);
end;
$$;

comment on function public.enqueue_jobs(text[], jsonb[], int[], int[], timestamptz[], text[], uuid[]) is
'Queue many jobs and return their ids in order: each array has an element a job, as enqueue_job''s arguments; a null
array, or element, is enqueue_job''s default. A job that enqueue_job would refuse (PT400, its place in the message)
refuses all.';

revoke execute on function picture_edge.insert_jobs(text[], jsonb[], int[], int[], timestamptz[], text[], uuid[])
from public, anon, authenticated;
grant execute on function picture_edge.insert_jobs(text[], jsonb[], int[], int[], timestamptz[], text[], uuid[])
to service_role;
revoke execute on function public.enqueue_jobs(text[], jsonb[], int[], int[], timestamptz[], text[], uuid[])
from public, anon, authenticated;
grant execute on function public.enqueue_jobs(text[], jsonb[], int[], int[], timestamptz[], text[], uuid[])
to service_role;
