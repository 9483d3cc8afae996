-- The clock: pg_cron calls process-jobs through pg_net each minute, the safety net behind the worker's own wake-up.
-- Called by   whoever sets the database up, once, with the address that the database reaches the edge under

create table if not exists public.edge_secrets (
    name text primary key,
    secret text not null
);
comment on table public.edge_secrets is 'Keys that scheduled commands read at run time, so that cron.job shows none.';
alter table public.edge_secrets enable row level security;
revoke all on public.edge_secrets from public, anon, authenticated;
grant select, insert, update, delete on public.edge_secrets to service_role;
drop policy if exists edge_secrets_service_role on public.edge_secrets;
create policy edge_secrets_service_role on public.edge_secrets for all to service_role using (
    true
) with check (true);

create or replace function public.process_jobs_headers() returns jsonb
language sql
stable
set search_path = ''
as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'Content-Type', 'application/json',
        'Authorization', 'Bearer ' || (select secret from public.edge_secrets where name = 'process_jobs_key')
    ));
$$;

comment on function public.process_jobs_headers() is
'The headers of the scheduled call, with the key where one is kept.';

create or replace function public.schedule_process_jobs(
    p_url text,
    p_key text default null,
    p_schedule text default '* * * * *'
) returns bigint
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(p_url, '') !~ '^https?://[^/]' then
        raise exception using errcode = 'PT400', message = 'p_url must be the http(s) address of the edge';
    end if;
    if to_regprocedure('cron.schedule(text, text, text)') is null or to_regnamespace('net') is null then
        raise notice 'pg_cron or pg_net is absent: nothing scheduled, the worker wakes itself';
        return null;
    end if;
    delete from public.edge_secrets where name = 'process_jobs_key';
    insert into public.edge_secrets (name, secret)
    select 'process_jobs_key', p_key where p_key is not null;
    return cron.schedule(
        'process-jobs-worker',
        p_schedule,
        format(
            'select net.http_post(url := %L, headers := public.process_jobs_headers(), body := %L::jsonb)',
            regexp_replace(p_url, '/+$', '') || '/functions/v1/process-jobs', '{"wait": false}'
        )
    );
end;
$$;

comment on function public.schedule_process_jobs(text, text, text) is
'Have pg_cron call process-jobs at p_url (as https://edge.example), with p_key as bearer token. Null without pg_cron.';

create or replace function public.unschedule_process_jobs() returns boolean
language plpgsql
set search_path = ''
as $$
begin
    delete from public.edge_secrets where name = 'process_jobs_key';
    if to_regclass('cron.job') is null then
        return false;
    end if;
    return coalesce(
        (select bool_or(cron.unschedule(job.jobid)) from cron.job where job.jobname = 'process-jobs-worker'), false
    );
end;
$$;

comment on function public.unschedule_process_jobs() is 'Stop the scheduled calls; whether there were any.';

revoke execute on function public.process_jobs_headers() from public, anon, authenticated;
grant execute on function public.process_jobs_headers() to service_role;
revoke execute on function public.schedule_process_jobs(text, text, text) from public, anon, authenticated;
grant execute on function public.schedule_process_jobs(text, text, text) to service_role;
revoke execute on function public.unschedule_process_jobs() from public, anon, authenticated;
grant execute on function public.unschedule_process_jobs() to service_role;
