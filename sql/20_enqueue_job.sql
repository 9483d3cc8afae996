-- enqueue_job: put a job into the queue, as part of the caller's transaction.
-- Called by   operators, start_generation, succeed_prediction
-- Promises    the job appears when the caller commits, or not at all; one active job to a dedupe key; users take
--             turns, however many jobs each of them has

create or replace function public.enqueue_job(
    p_job_type text,
    p_payload jsonb,
    p_priority int default 0,
    p_max_attempts int default 3,
    p_scheduled_at timestamptz default null,
    p_dedupe_key text default null,
    p_created_by uuid default null
) returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_due boolean := coalesce(p_scheduled_at <= clock_timestamp(), true);
    v_rank bigint := 0;
    v_id uuid;
begin
    if coalesce(btrim(p_job_type), '') = '' then
        raise exception using errcode = 'PT400', message = 'p_job_type must not be empty';
    end if;
    if p_payload is null or jsonb_typeof(p_payload) <> 'object' then
        raise exception using errcode = 'PT400', message = 'p_payload must be a JSON object';
    end if;
    if p_max_attempts is null or p_max_attempts < 1 then
        raise exception using errcode = 'PT400', message = 'p_max_attempts must be 1 or more';
    end if;
    if p_created_by is not null and v_due then
        -- Start-time fair queueing: one after the user's own last one, but not before whoever is next.
        v_rank := greatest(
            (
                select job_queue.share_rank
                from public.job_queue
                where job_queue.status = 'pending' and job_queue.job_type = p_job_type
                    and job_queue.priority = coalesce(p_priority, 0) and job_queue.share_rank > 0
                order by job_queue.share_rank
                limit 1
            ),
            (
                select job_queue.share_rank + 1
                from public.job_queue
                where job_queue.created_by = p_created_by and job_queue.status = 'pending'
                    and job_queue.job_type = p_job_type and job_queue.priority = coalesce(p_priority, 0)
                    and job_queue.share_rank > 0
                order by job_queue.share_rank desc
                limit 1
            ),
            1
        );
    end if;
    loop
        insert into public.job_queue (
            job_type, payload, priority, max_attempts, scheduled_at, dedupe_key, created_by, share_rank
        )
        values (
            p_job_type, p_payload, coalesce(p_priority, 0), p_max_attempts,
            coalesce(p_scheduled_at, clock_timestamp()), p_dedupe_key, p_created_by, v_rank
        )
        on conflict (job_type, dedupe_key)
        where dedupe_key is not null and status in ('pending', 'processing') do nothing
        returning job_queue.id into v_id;
        if v_id is not null then
            if v_due then
                perform public.wake_workers();
            end if;
            exit;
        end if;
        select job_queue.id into v_id
        from public.job_queue
        where job_queue.job_type = p_job_type and job_queue.dedupe_key = p_dedupe_key
            and job_queue.status in ('pending', 'processing');
        exit when v_id is not null; -- else the one that was in the way has ended between the two statements
    end loop;
    return v_id;
end;
$$;

comment on function public.enqueue_job(text, jsonb, int, int, timestamptz, text, uuid) is
'Queue a job and return its id. Higher priority runs first; p_scheduled_at delays it. While a job of the type with the
same p_dedupe_key is pending or processing, that one''s id is returned and nothing is queued.';

-- The field variant, called by position. Its arguments have no names, so that a call by name is never ambiguous.
create or replace function public.enqueue_job(text, jsonb, int, timestamptz, int) returns uuid
language sql
set search_path = ''
as $$
    select public.enqueue_job($1, $2, p_priority => $3, p_max_attempts => $5, p_scheduled_at => $4);
$$;

comment on function public.enqueue_job(text, jsonb, int, timestamptz, int) is
'enqueue_job(job_type, payload, priority, scheduled_at, max_attempts), by position.';

revoke execute on function public.enqueue_job(text, jsonb, int, int, timestamptz, text, uuid)
from public, anon, authenticated;
grant execute on function public.enqueue_job(text, jsonb, int, int, timestamptz, text, uuid) to service_role;
revoke execute on function public.enqueue_job(text, jsonb, int, timestamptz, int) from public,
anon,
authenticated;
grant execute on function public.enqueue_job(text, jsonb, int, timestamptz, int) to service_role;
