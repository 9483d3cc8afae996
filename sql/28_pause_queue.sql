-- pause_queue, resume_queue: hold back the jobs of a type, or of all. Running jobs go on; a pause outlives restarts.
-- paused_due, unhandled_due: what a pause holds back, and what no handler is there for.
-- Called by   operators; claim_jobs and claim_suspect read the table; process-jobs-test

create table if not exists public.paused_queues (
    job_type text primary key,
    paused_at timestamptz not null default now()
);

comment on table public.paused_queues is 'Job types that are paused: none of their jobs is handed out.';
comment on column public.paused_queues.job_type is 'A job type, or * for every type.';
comment on column public.paused_queues.paused_at is 'Since when the type is paused.';

create or replace function public.pause_queue(p_job_type text default '*') returns void
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(btrim(p_job_type), '') = '' then
        raise exception using errcode = 'PT400', message = 'p_job_type must not be empty';
    end if;
    insert into public.paused_queues (job_type) values (p_job_type) on conflict (job_type) do nothing;
    if p_job_type <> '*' then
        perform picture_edge.notice_unknown_type(p_job_type);
    end if;
    raise notice 'Paused: % due jobs are held, and all that come', coalesce((
        select held.jobs from picture_edge.paused_due() as held where held.job_type = p_job_type
    ), 0);
    perform picture_edge.log_operation('pause_queue', jsonb_build_object('job_type', p_job_type));
end;
$$;

comment on function public.pause_queue(text) is
'Hand out no job of the type (default: of any) until resume_queue; jobs may still be enqueued, and running jobs end.';

create or replace function public.resume_queue(p_job_type text default '*') returns boolean
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(btrim(p_job_type), '') = '' then
        raise exception using errcode = 'PT400', message = 'p_job_type must not be empty';
    end if;
    delete from public.paused_queues where paused_queues.job_type = p_job_type or p_job_type = '*';
    if not found then
        raise notice 'Nothing was paused under this name. Paused: %', coalesce(
            (select string_agg(paused_queues.job_type, ', ') from public.paused_queues), 'nothing'
        );
        return false;
    end if;
    perform picture_edge.log_operation('resume_queue', jsonb_build_object('job_type', p_job_type));
    perform picture_edge.wake_workers();
    return true;
end;
$$;

comment on function public.resume_queue(text) is
'End the pause of a type, or every pause by default; returns whether there was a pause. While * is paused, so is every
type.';

create or replace function picture_edge.paused_due()
returns table (job_type text, jobs bigint, paused_at timestamptz)
language sql
stable
set search_path = ''
as $$
    select paused_queues.job_type, due.jobs, paused_queues.paused_at
    from public.paused_queues
    cross join lateral (
        select count(*) as jobs
        from public.job_queue
        where job_queue.status = 'pending' and job_queue.scheduled_at <= clock_timestamp()
            and paused_queues.job_type in (job_queue.job_type, '*')
    ) as due
    where due.jobs > 0
    order by paused_queues.job_type;
$$;

comment on function picture_edge.paused_due() is
'Each pause that holds back due jobs, with how many; a pause of * counts those of every type.';

create or replace function picture_edge.unhandled_due(p_job_types text[]) returns table (job_type text, jobs bigint)
language sql
stable
set search_path = ''
as $$
    select job_queue.job_type, count(*) as jobs
    from public.job_queue
    where job_queue.status = 'pending' and job_queue.scheduled_at <= clock_timestamp()
        and job_queue.job_type <> all (p_job_types)
    group by job_queue.job_type
    order by jobs desc, job_queue.job_type
    limit 10;
$$;

comment on function picture_edge.unhandled_due(text[]) is
'Due jobs of types other than p_job_types, those that a process can run: how many of each type, ten types at most.';

revoke execute on function picture_edge.unhandled_due(text[]) from public, anon, authenticated;
grant execute on function picture_edge.unhandled_due(text[]) to service_role;
revoke execute on function picture_edge.paused_due() from public, anon, authenticated;
grant execute on function picture_edge.paused_due() to service_role;
revoke execute on function public.pause_queue(text) from public, anon, authenticated;
grant execute on function public.pause_queue(text) to service_role;
revoke execute on function public.resume_queue(text) from public, anon, authenticated;
grant execute on function public.resume_queue(text) to service_role;
