-- enqueue_job: put a job into the queue, as part of the caller's transaction (transactional enqueue).
-- Called by   operators, start_generation, succeed_prediction; signed-in users, for themselves (sql/38_own_jobs.sql)
-- Promises    the job appears when the caller commits, or not at all; one active job to a dedupe key; fair queueing:
--             users take turns, however many jobs each of them has; both forms of the original's calls, by name and by
--             position
-- Rights      the body runs with a client's rights up to edge_private.enqueue_own_job: it names no internal before
-- notice_unhandled: a NOTICE for a job type that may be mistyped

create or replace function picture_edge.notice_unhandled(p_job_type text) returns void
language plpgsql
set search_path = ''
as $$
declare
    -- Types of the project's own, a line each. Kept for the session: the search costs six times what an insert does.
    v_own text := coalesce(current_setting('picture_edge.own_types', true), '');
    v_line text := e'\n' || p_job_type || e'\n';
    v_nearest text;
begin
    if position(v_line in v_own) > 0 then
        return;
    end if;
    v_nearest := picture_edge.nearest_name(
        p_job_type, array(select job_types.job_type from public.job_types), 0.75
    );
    if v_nearest is not null then
        raise notice 'No handler of ours has the job type %; perhaps %', p_job_type, v_nearest;
    elsif length(v_own) < 1000 then
        perform set_config('picture_edge.own_types', v_own || v_line, false);
    else
        perform set_config('picture_edge.own_types', v_line, false); -- bounded, however many types there are
    end if;
end;
$$;

comment on function picture_edge.notice_unhandled(text) is
'Raise a NOTICE for a job type that job_types has not, if it resembles one of those.';

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
    if row_security_active('public.job_queue') then -- a client: its own jobs only, checked there
        if p_dedupe_key is not null or p_created_by is not null then
            raise exception using
                errcode = 'PT403', message = 'p_dedupe_key and p_created_by are for the service role only';
        end if;
        return edge_private.enqueue_own_job(p_job_type, p_payload, p_max_attempts, p_scheduled_at);
    end if;
    if p_created_by is not null and v_due then
        -- Start-time fair queueing: one turn after the user's own last job, but not before the job that is next.
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
                perform picture_edge.wake_workers();
            end if;
            exit;
        end if;
        select job_queue.id into v_id
        from public.job_queue
        where job_queue.job_type = p_job_type and job_queue.dedupe_key = p_dedupe_key
            and job_queue.status in ('pending', 'processing');
        exit when v_id is not null; -- else the conflicting job has ended between the two statements: insert again
    end loop;
    -- After the insert: make schema locks job_queue before job_types, and would wait for ever in the other order.
    if not exists (select from public.job_types where job_types.job_type = p_job_type) then
        perform picture_edge.notice_unhandled(p_job_type);
    end if;
    return v_id;
end;
$$;

comment on function public.enqueue_job(text, jsonb, int, int, timestamptz, text, uuid) is
'Queue a job and return its id. Higher priority runs first; p_scheduled_at delays it. While a job of the type with the
same p_dedupe_key is pending or processing, that job''s id is returned and nothing is queued. A signed-in user may queue
a generate-image job of their own: at priority 0, with three attempts at most.';

-- Overloads by position. Without argument names, PostgREST, which resolves an overload by the names in a request, never
-- chooses them, and a call by name is never ambiguous.
create or replace function public.enqueue_job(text, jsonb, int, timestamptz, int = 3) returns uuid
language sql
set search_path = ''
as $$
    select public.enqueue_job($1, $2, p_priority => $3, p_max_attempts => $5, p_scheduled_at => $4);
$$;

comment on function public.enqueue_job(text, jsonb, int, timestamptz, int) is
'The field variant by position: enqueue_job(job_type, payload, priority, scheduled_at, max_attempts).';

-- Untyped arguments (quoted literals, the parameters of most drivers): overload resolution prefers text, so without
-- this overload a call with four of them would be ambiguous. The fourth's content tells the form.
create or replace function public.enqueue_job(text, jsonb, int, text, text = null) returns uuid
language sql
set search_path = ''
as $$
    select case
        when $4 ~ '^\s*[0-9]{1,4}\s*$' or $4 is null
            then public.enqueue_job($1, $2, $3, coalesce($4::int, 3), $5::timestamptz)
        else public.enqueue_job($1, $2, $3, $4::timestamptz, coalesce($5::int, 3))
    end;
$$;

comment on function public.enqueue_job(text, jsonb, int, text, text) is
'Either form by position, from untyped literals: the fourth is a number of attempts or a time, the fifth the other.';

revoke execute on function public.enqueue_job(text, jsonb, int, int, timestamptz, text, uuid) from public, anon;
grant execute on function public.enqueue_job(text, jsonb, int, int, timestamptz, text, uuid)
to authenticated, service_role;
revoke execute on function public.enqueue_job(text, jsonb, int, timestamptz, int) from public, anon;
grant execute on function public.enqueue_job(text, jsonb, int, timestamptz, int) to authenticated, service_role;
revoke execute on function public.enqueue_job(text, jsonb, int, text, text) from public, anon;
grant execute on function public.enqueue_job(text, jsonb, int, text, text) to authenticated, service_role;
revoke execute on function picture_edge.notice_unhandled(text) from public, anon, authenticated;
grant execute on function picture_edge.notice_unhandled(text) to service_role;
