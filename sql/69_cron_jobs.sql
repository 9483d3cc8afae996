-- pause_cron_job, resume_cron_job: a scheduled command stops, and goes on, with its schedule kept.
-- Called by   operators
-- Promises    each says what it did, and is a line of operator_log; a name nothing has gets a NOTICE with the nearest

create or replace function picture_edge.activate_cron_job(p_name text, p_active boolean, p_action text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_job record;
begin
    if to_regclass('cron.job') is null then
        raise notice 'pg_cron is absent: there is nothing to pause';
        return false;
    end if;
    select job.jobid, job.active into v_job from cron.job where job.jobname = p_name;
    if not found then
        raise notice 'No cron job has the name %', coalesce(p_name, 'null') || coalesce(
            '; perhaps ' || picture_edge.nearest_name(
                p_name, array(select job.jobname from cron.job where job.jobname is not null)
            ), ''
        );
        return false;
    end if;
    if v_job.active = p_active then
        raise notice 'Cron job % is % already', p_name, case when p_active then 'active' else 'paused' end;
        return false;
    end if;
    perform cron.alter_job(v_job.jobid, active => p_active);
    raise notice '%', format(
        case when p_active then 'Cron job %s runs again by its schedule'
            else 'Cron job %s is paused: its schedule is kept, and it does not run' end, p_name
    );
    perform picture_edge.log_operation(p_action, jsonb_build_object('name', p_name));
    return true;
exception when insufficient_privilege then
    raise exception using errcode = 'PT403', message = format(
        '%s may not change cron jobs: grant execute on function cron.alter_job to it', current_user
    );
end;
$$;

comment on function picture_edge.activate_cron_job(text, boolean, text) is
'Set whether a cron job of the caller''s runs; returns whether that has changed. p_action: for operator_log.';

create or replace function public.pause_cron_job(p_name text) returns boolean
language sql
set search_path = ''
as $$
    select picture_edge.activate_cron_job(p_name, false, 'pause_cron_job');
$$;

comment on function public.pause_cron_job(text) is
'Keep a cron job of the caller''s from running until resume_cron_job; a run that has begun may be cancelled. Returns
whether it was active.';

create or replace function public.resume_cron_job(p_name text) returns boolean
language sql
set search_path = ''
as $$
    select picture_edge.activate_cron_job(p_name, true, 'resume_cron_job');
$$;

comment on function public.resume_cron_job(text) is
'Let a cron job of the caller''s run by its schedule again; what it has missed is not made up. Returns whether it was
paused.';

revoke execute on function picture_edge.activate_cron_job(text, boolean, text) from public, anon, authenticated;
grant execute on function picture_edge.activate_cron_job(text, boolean, text) to service_role;
revoke execute on function public.pause_cron_job(text) from public, anon, authenticated;
grant execute on function public.pause_cron_job(text) to service_role;
revoke execute on function public.resume_cron_job(text) from public, anon, authenticated;
grant execute on function public.resume_cron_job(text) to service_role;
