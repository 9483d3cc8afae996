-- The clock: pg_cron calls process-jobs through pg_net each minute, the safety net behind the worker's own wake-up, and
-- purges each day what ended a week ago.
-- Called by   operators, once, at set-up, with the address under which the database reaches the edge

create table if not exists public.edge_secrets (
    name text primary key,
    secret text not null
);
comment on table public.edge_secrets is
'Secrets that scheduled commands read at run time, so that cron.job shows none. Not used where there is a vault.';
comment on column public.edge_secrets.name is 'The secret''s name: process_jobs_key.';
comment on column public.edge_secrets.secret is 'The secret itself.';
alter table public.edge_secrets enable row level security;
revoke all on public.edge_secrets from public, anon, authenticated;
grant select, insert, update, delete on public.edge_secrets to service_role;
drop policy if exists edge_secrets_service_role on public.edge_secrets;
create policy edge_secrets_service_role on public.edge_secrets for select to service_role using (true);

create or replace function picture_edge.process_jobs_headers() returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
    v_key text;
begin
    if to_regclass('vault.decrypted_secrets') is not null then
        execute 'select decrypted_secret from vault.decrypted_secrets where name = ''process_jobs_key''' into v_key;
    else
        v_key := (select secret from public.edge_secrets where name = 'process_jobs_key');
    end if;
    return jsonb_strip_nulls(
        jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || v_key)
    );
end;
$$;

comment on function picture_edge.process_jobs_headers() is
'The headers of the scheduled call, with the key where one is stored: in the vault, or else in edge_secrets.';

create or replace function picture_edge.keep_process_jobs_key(p_key text) returns void
language plpgsql
set search_path = ''
as $$
begin
    delete from public.edge_secrets where name = 'process_jobs_key';
    if to_regclass('vault.decrypted_secrets') is not null then
        execute 'delete from vault.secrets where name = ''process_jobs_key''';
        if p_key is not null then
            execute 'select vault.create_secret($1, ''process_jobs_key'')' using p_key;
        end if;
    elsif p_key is not null then
        insert into public.edge_secrets (name, secret) values ('process_jobs_key', p_key);
    end if;
end;
$$;

comment on function picture_edge.keep_process_jobs_key(text) is
'Store the key of the scheduled call, or delete it (null).';

create or replace function public.schedule_process_jobs(
    p_url text,
    p_key text default null,
    p_schedule text default '* * * * *'
) returns bigint
language plpgsql
set search_path = ''
as $$
declare
    v_base text := regexp_replace(p_url, '(/functions/v1(/process-jobs)?)?/*$', '');
begin
    if coalesce(v_base, '') !~ '^https?://[^/]' then
        raise exception using errcode = 'PT400', message = 'p_url must be the http(s) address of the edge';
    end if;
    if to_regprocedure('cron.schedule(text, text, text)') is null or to_regnamespace('net') is null then
        raise notice 'pg_cron or pg_net is absent: nothing scheduled. python -m functions._local.clock stands in.';
        return null;
    end if;
    if p_key is not null then
        perform picture_edge.keep_process_jobs_key(nullif(p_key, ''));
    end if;
    -- cron.schedule leaves an inactive job of the same name inactive: remove it, so that scheduling starts it.
    perform cron.unschedule(job.jobid)
    from cron.job
    where job.jobname in ('process-jobs-worker', 'cleanup-old-jobs', 'purge-cron-history')
        and job.username = current_user and not job.active;
    perform cron.schedule('cleanup-old-jobs', '17 3 * * *', 'select public.purge_jobs(''7 days'')');
    perform cron.schedule(
        'purge-cron-history', '37 3 * * *',
        -- A run whose connection failed has no time at all, one that a restart ended has no end_time. Of the former
        -- go those before the first run of the last seven days, which is this one at the latest.
        'delete from cron.job_run_details where coalesce(end_time, start_time) < now() - interval ''7 days'''
        ' or (coalesce(end_time, start_time) is null and runid < ('
        'select min(runid) from cron.job_run_details where start_time > now() - interval ''7 days''))'
    );
    perform picture_edge.expect_ticks(
        -- How far apart the calls are is measured from the second one on; until then any schedule may be hourly.
        case when p_schedule !~ '^\s*(\*(\s+\*){4}|[0-9]+\s+seconds?)\s*$' then interval '1 hour' end
    );
    perform picture_edge.log_operation('schedule_process_jobs', jsonb_build_object(
        'url', regexp_replace(v_base, '//[^/]*@', '//'), 'schedule', p_schedule -- not the key, nor a password
    ));
    return cron.schedule(
        'process-jobs-worker',
        p_schedule,
        format(
            'select net.http_post(url := %L, headers := picture_edge.process_jobs_headers(), body := %L::jsonb)',
            v_base || '/functions/v1/process-jobs', '{"wait": false}'
        )
    );
end;
$$;

comment on function public.schedule_process_jobs(text, text, text) is
'Have pg_cron call process-jobs at p_url (as https://edge.example), with p_key as bearer token, and purge each day jobs
and cron''s own records that ended a week ago. May be called again to change them: without p_key the stored key stays,
an empty one deletes it. Null without pg_cron.';

create or replace function public.unschedule_process_jobs() returns boolean
language plpgsql
set search_path = ''
as $$
begin
    perform picture_edge.keep_process_jobs_key(null);
    delete from public.cron_ticks where id; -- no heartbeat is expected any more
    perform picture_edge.log_operation('unschedule_process_jobs', '{}');
    if to_regclass('cron.job') is null then
        return false;
    end if;
    return coalesce((
        select bool_or(cron.unschedule(job.jobid))
        from cron.job
        where job.jobname in ('process-jobs-worker', 'cleanup-old-jobs', 'purge-cron-history')
    ), false);
end;
$$;

comment on function public.unschedule_process_jobs() is
'Remove the jobs that schedule_process_jobs made; returns whether there were any.';

-- Commands that an earlier sql/ has scheduled call process_jobs_headers in its former schema.
do $$
declare
    v_job record;
begin
    if to_regclass('cron.job') is null then
        return;
    end if;
    for v_job in
        select
            job.jobid,
            replace(job.command, 'public.process_jobs_headers(', 'picture_edge.process_jobs_headers(') as command
        from cron.job
        where job.command like '%public.process_jobs_headers(%'
    loop
        begin
            perform cron.alter_job(v_job.jobid, command => v_job.command);
        exception when others then
            raise notice 'cron job % calls public.process_jobs_headers(), which is in picture_edge now, and cannot be '
                'changed here: %', v_job.jobid, sqlerrm;
        end;
    end loop;
end;
$$;

revoke execute on function picture_edge.process_jobs_headers() from public, anon, authenticated;
grant execute on function picture_edge.process_jobs_headers() to service_role;
revoke execute on function picture_edge.keep_process_jobs_key(text) from public, anon, authenticated;
grant execute on function picture_edge.keep_process_jobs_key(text) to service_role;
revoke execute on function public.schedule_process_jobs(text, text, text) from public, anon, authenticated;
grant execute on function public.schedule_process_jobs(text, text, text) to service_role;
revoke execute on function public.unschedule_process_jobs() from public, anon, authenticated;
grant execute on function public.unschedule_process_jobs() to service_role;
