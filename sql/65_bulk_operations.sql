-- redrive_failed, redrive_generation, cancel_jobs, run_cron_job_now: many jobs at once, and the clock.
-- Called by   operators
-- Promises    each says what it did, and is a line of operator_log; a dry run changes nothing; what other sessions hold
--             at this moment is left out, so that no call waits for a worker
-- How         begin_operation: the calls within write no lines of their own

create or replace function public.redrive_failed(
    p_job_type text default null,
    p_limit int default 100,
    p_since timestamptz default null,
    p_until timestamptz default null,
    p_error_like text default null,
    p_dry_run boolean default false
) returns int
language plpgsql
set search_path = ''
as $$
declare
    v_ids uuid[];
    v_id uuid;
    v_count int := 0;
begin
    if p_limit < 0 then
        raise exception using errcode = 'PT400', message = 'p_limit must be 0 or more, or null for all';
    end if;
    if p_job_type is not null then
        perform picture_edge.notice_unknown_type(p_job_type);
    end if;
    v_ids := array(
        select job_queue.id
        from public.job_queue
        where job_queue.status = 'failed' and (p_job_type is null or job_queue.job_type = p_job_type)
            and (p_since is null or job_queue.completed_at >= p_since)
            and (p_until is null or job_queue.completed_at < p_until)
            and (
                p_error_like is null or job_queue.error_message like p_error_like
                or job_queue.errors -> -1 ->> 'class' like p_error_like
            )
        order by job_queue.completed_at, job_queue.id
        limit p_limit
        for update skip locked
    );
    if p_dry_run then
        raise notice '% failed jobs would run again', cardinality(v_ids);
        return cardinality(v_ids);
    end if;
    perform picture_edge.begin_operation('redrive_failed');
    foreach v_id in array v_ids loop
        begin
            v_count := v_count + public.redrive_job(v_id)::int;
        exception when sqlstate 'PT409' then
            raise notice '%', sqlerrm; -- skip this job, redrive the rest
        end;
    end loop;
    if v_count > 0 then
        raise notice '% failed jobs run again', v_count;
    end if;
    perform picture_edge.log_operation('redrive_failed', jsonb_build_object(
        'job_type', p_job_type, 'limit', p_limit, 'since', p_since, 'until', p_until, 'error_like', p_error_like
    ), v_count);
    return v_count;
end;
$$;

comment on function public.redrive_failed(text, int, timestamptz, timestamptz, text, boolean) is
'Redrive up to p_limit (null: all) failed jobs of a type (null: all), the oldest failures first; returns how many.
p_since, p_until: when they failed. p_error_like: their error''s text or class, a pattern of LIKE. p_dry_run: only
count.';

create or replace function public.redrive_generation(p_generation_id uuid) returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_generation public.image_generations;
    v_job_id uuid;
    v_done boolean;
begin
    select * into v_generation from public.image_generations where image_generations.id = p_generation_id;
    if not found then
        raise exception using errcode = 'PT404', message = 'Generation not found', hint = coalesce((
            select 'This is the id of a job: call redrive_job'
            from public.job_queue where job_queue.id = p_generation_id
        ), '');
    end if;
    if v_generation.status = 'completed' then
        raise exception using errcode = 'PT409', message = 'The generation is completed: there is nothing to redrive';
    end if;
    select job_queue.id into v_job_id
    from public.job_queue
    where job_queue.created_by = v_generation.user_id and job_queue.created_at >= v_generation.created_at
        and job_queue.job_type in ('generate-image', 'download-image') and job_queue.status <> 'completed'
        and job_queue.payload ->> 'generation_id' = p_generation_id::text
    order by job_queue.created_at desc
    limit 1;
    if not found then
        raise exception using
            errcode = 'PT404', message = 'The generation has no job that could run again: it is to be requested anew';
    end if;
    perform picture_edge.begin_operation('redrive_generation');
    v_done := public.redrive_job(v_job_id);
    raise notice '%', case when v_done then format('Job %s runs again', v_job_id)
        else format('Nothing done: job %s waits or runs', v_job_id) end;
    perform picture_edge.log_operation(
        'redrive_generation', jsonb_build_object('generation_id', p_generation_id), v_done::int
    );
    return v_done;
end;
$$;

comment on function public.redrive_generation(uuid) is
'Run the failed or cancelled job of a generation again, and so the generation; where its picture was made already, only
the download. Returns whether it had failed or was cancelled. Completed: PT409. Unknown, or without a job: PT404.';

create or replace function public.cancel_jobs(
    p_job_type text,
    p_limit int default 100,
    p_user_id uuid default null,
    p_statuses text[] default '{pending}',
    p_since timestamptz default null,
    p_until timestamptz default null,
    p_reason text default 'Cancelled by an operator',
    p_dry_run boolean default false
) returns int
language plpgsql
set search_path = ''
as $$
declare
    v_ids uuid[];
    v_id uuid;
    v_count int := 0;
begin
    if coalesce(btrim(p_job_type), '') = '' then
        raise exception using errcode = 'PT400', message = 'p_job_type must be a job type, or * for all';
    end if;
    if p_limit < 0 then
        raise exception using errcode = 'PT400', message = 'p_limit must be 0 or more, or null for all';
    end if;
    if p_statuses is null or not p_statuses <@ '{pending, processing}' then
        raise exception using errcode = 'PT400', message = 'p_statuses may hold pending and processing only';
    end if;
    if p_job_type <> '*' then
        perform picture_edge.notice_unknown_type(p_job_type);
    end if;
    v_ids := array(
        select job_queue.id
        from public.job_queue
        where job_queue.status in ('pending', 'processing') and job_queue.status = any (p_statuses)
            and p_job_type in (job_queue.job_type, '*')
            and (p_user_id is null or job_queue.created_by = p_user_id)
            and (p_since is null or job_queue.created_at >= p_since)
            and (p_until is null or job_queue.created_at < p_until)
        order by job_queue.id -- the lock order of all statements that lock several jobs
        limit p_limit
        for update skip locked
    );
    if p_dry_run then
        raise notice '% jobs would be cancelled', cardinality(v_ids);
        return cardinality(v_ids);
    end if;
    perform picture_edge.begin_operation('cancel_jobs');
    foreach v_id in array v_ids loop
        v_count := v_count + public.cancel_job(v_id, p_reason)::int;
    end loop;
    raise notice '% jobs are cancelled', v_count;
    perform picture_edge.log_operation('cancel_jobs', jsonb_build_object(
        'job_type', p_job_type, 'limit', p_limit, 'user_id', p_user_id, 'statuses', p_statuses, 'since', p_since,
        'until', p_until, 'reason', p_reason
    ), v_count);
    return v_count;
end;
$$;

comment on function public.cancel_jobs(text, int, uuid, text[], timestamptz, timestamptz, text, boolean) is
'Cancel up to p_limit (null: all) jobs of a type (*: of any) that wait, or by p_statuses run, with their generations;
returns how many. p_user_id: whose. p_since, p_until: when they were enqueued. p_dry_run: only count.';

create or replace function public.run_cron_job_now(p_name text) returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_job record;
begin
    if to_regclass('cron.job') is null then
        raise notice 'pg_cron is absent: there is nothing to run';
        return false;
    end if;
    select job.command, job.username, job.database into v_job from cron.job where job.jobname = p_name;
    if not found then
        raise notice 'No cron job has the name %', coalesce(p_name, 'null') || coalesce(
            '; perhaps ' || picture_edge.nearest_name(
                p_name, array(select job.jobname from cron.job where job.jobname is not null)
            ), ''
        );
        return false;
    end if;
    -- With the caller's rights, which may be more than those of the role that has written the command.
    if v_job.username <> current_user or v_job.database <> current_database() then
        raise exception using errcode = 'PT403', message = format(
            'Cron job %s is of %s in database %s: run it as that role, there', p_name, v_job.username, v_job.database
        );
    end if;
    perform picture_edge.begin_operation('run_cron_job_now');
    perform set_config('search_path', '"$user", public', true); -- as a new session of pg_cron's has it
    execute v_job.command;
    perform set_config('search_path', '', true);
    raise notice 'Cron job % has run', p_name;
    perform picture_edge.log_operation('run_cron_job_now', jsonb_build_object('name', p_name));
    return true;
end;
$$;

comment on function public.run_cron_job_now(text) is
'Run the command of a cron job of the caller''s, in this transaction, beside its schedule; an inactive one too. Returns
whether there is one. It leaves no row in cron.job_run_details.';

revoke execute on function public.redrive_failed(text, int, timestamptz, timestamptz, text, boolean)
from public, anon, authenticated;
grant execute on function public.redrive_failed(
    text, int, timestamptz, timestamptz, text, boolean
) to service_role;
revoke execute on function public.redrive_generation(uuid) from public, anon, authenticated;
grant execute on function public.redrive_generation(uuid) to service_role;
revoke execute on function public.cancel_jobs(text, int, uuid, text[], timestamptz, timestamptz, text, boolean)
from public, anon, authenticated;
grant execute on function public.cancel_jobs(
    text, int, uuid, text[], timestamptz, timestamptz, text, boolean
) to service_role;
revoke execute on function public.run_cron_job_now(text) from public, anon, authenticated;
grant execute on function public.run_cron_job_now(text) to service_role;
