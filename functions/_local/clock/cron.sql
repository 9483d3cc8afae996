-- Stand-in for pg_cron 1.6: schema cron with its functions, tables, defaults, errors and rights. Re-runnable.
-- Served by   functions/_local/clock/scheduler.py; installed by install.py, and never beside the real extension
-- Differs     README.md has the table
-- search_path explicit, with pg_temp last (search_path injection): unless named, pg_temp comes first for types and
--             tables, with an empty path too, and the CHECK of a caller's domain pg_temp.text would run with a
--             definer's rights.

set local search_path = pg_catalog, pg_temp;

create schema if not exists cron;
comment on schema cron is 'Stand-in for pg_cron: jobs run by python -m functions._local.clock.';

create sequence if not exists cron.jobid_seq;
create sequence if not exists cron.runid_seq;

create table if not exists cron.job (
    jobid bigint primary key default nextval('cron.jobid_seq'),
    schedule text not null,
    command text not null,
    nodename text not null default 'localhost',
    nodeport int not null default inet_server_port(),
    database text not null default current_database(),
    username text not null default current_user,
    active boolean not null default true,
    jobname text,
    constraint jobname_username_uniq unique (jobname, username)
);
comment on table cron.job is 'Scheduled jobs.';
comment on column cron.job.jobid is 'The job''s id.';
comment on column cron.job.schedule is 'Five cron fields in GMT, an @ name, or 1 to 59 seconds.';
comment on column cron.job.command is 'The SQL to run, as given.';
comment on column cron.job.nodename is 'As in pg_cron; the stand-in connects to where the clock does.';
comment on column cron.job.nodeport is 'As in pg_cron; not used.';
comment on column cron.job.database is 'Database to run in.';
comment on column cron.job.username is 'Role to run as; it sees and removes the job.';
comment on column cron.job.active is 'False: the job is kept and does not run.';
comment on column cron.job.jobname is 'The job''s name, unique per user; null without a name.';

create table if not exists cron.job_run_details (
    jobid bigint,
    runid bigint primary key default nextval('cron.runid_seq'),
    job_pid int,
    database text,
    username text,
    command text,
    status text,
    return_message text,
    start_time timestamptz,
    end_time timestamptz
);
comment on table cron.job_run_details is 'Run history. Rows outlive their job, and nothing purges them automatically.';
comment on column cron.job_run_details.jobid is 'The job of the run.';
comment on column cron.job_run_details.runid is 'The run''s id.';
comment on column cron.job_run_details.job_pid is 'The process id of the backend.';
comment on column cron.job_run_details.database is 'The job''s database when the run started.';
comment on column cron.job_run_details.username is 'The job''s role when the run started.';
comment on column cron.job_run_details.command is 'The job''s command when the run started.';
comment on column cron.job_run_details.status is 'starting, running, succeeded or failed.';
comment on column cron.job_run_details.return_message is 'Rows or command tag; of a failure the error''s whole text.';
comment on column cron.job_run_details.start_time is 'When the command was sent.';
comment on column cron.job_run_details.end_time is 'When the run ended.';

create table if not exists cron.clock_state (
    jobid bigint primary key references cron.job (jobid) on delete cascade,
    fired_at timestamptz not null
);
comment on table cron.clock_state is 'The stand-in''s own: a job fires once for a time, however many clocks serve it.';
comment on column cron.clock_state.jobid is 'The job that fires.';
comment on column cron.clock_state.fired_at is
'The time that the job last fired for, or since when the clock knows the job.';

revoke all on cron.job, cron.job_run_details, cron.clock_state from public;
grant select on cron.job to public;
grant select, delete on cron.job_run_details to public;
grant select on sequence cron.jobid_seq, cron.runid_seq to public;
alter table cron.job enable row level security;
alter table cron.job_run_details enable row level security;
alter table cron.clock_state enable row level security;
drop policy if exists cron_job_policy on cron.job;
create policy cron_job_policy on cron.job using (username = current_user);
drop policy if exists cron_job_run_details_policy on cron.job_run_details;
create policy cron_job_run_details_policy on cron.job_run_details using (username = current_user);

create or replace function cron.job_cache_invalidate() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('cron', '');
    return null;
end;
$$;
comment on function cron.job_cache_invalidate() is 'Trigger: tell the clock that jobs have changed.';

create or replace trigger cron_job_cache_invalidate
after insert or update or delete or truncate on cron.job
for each statement execute function cron.job_cache_invalidate();

create or replace function cron.forget_clock_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from cron.clock_state where clock_state.jobid = new.jobid;
    return null;
end;
$$;
comment on function cron.forget_clock_state() is
'Trigger: a changed schedule starts from now, without catching up on missed times.';

create or replace trigger forget_clock_state
after update of schedule, active on cron.job
for each row when (old.schedule <> new.schedule or old.active <> new.active)
execute function cron.forget_clock_state();

create or replace function cron.valid_schedule(schedule text) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := lower(btrim(schedule, E' \t'));
    v_fields text[] := regexp_split_to_array(lower(btrim(schedule, E' \t')), '[ \t]+');
    v_low int[] := '{0, 0, 1, 1, 0}';
    v_high int[] := '{59, 23, 31, 12, 7}';
    v_names text[];
    v_field text;
    v_term text;
    v_parts text[];
    v_number text;
begin
    if length(schedule) >= 1000 then
        return false;
    end if;
    if v_text ~ '^[0-9]{1,2} +seconds?$' then
        return split_part(v_text, ' ', 1)::int between 1 and 59;
    end if;
    if v_text in (
        '@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly', '@reboot', '@restart'
    ) then
        return true;
    end if;
    if cardinality(v_fields) < 5 then
        return false;
    end if;
    for i in 1..5 loop -- text after the fifth field is ignored
        continue when i = 3 and v_fields[i] = '$';
        v_field := v_fields[i];
        v_names := case i
            when 4 then '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'
            when 5 then '{sun,mon,tue,wed,thu,fri,sat}'
        end;
        for k in 1..coalesce(cardinality(v_names), 0) loop
            v_field := regexp_replace(v_field, '\m' || v_names[k] || '\M', (k + v_low[i] - 1)::text, 'g');
        end loop;
        foreach v_term in array string_to_array(v_field, ',') loop
            v_parts := regexp_match(
                v_term, '^(?:\*(?:-[0-9]{1,4})?|([0-9]{1,4})(?:-([0-9]{1,4}))?)(?:/([0-9]{1,4}))?$'
            );
            if v_parts is null
                or (v_parts[3] is not null and v_parts[1] is not null and v_parts[2] is null) -- 1/20
                or v_parts[3]::int not between 1 and v_high[i] then
                return false;
            end if;
            foreach v_number in array v_parts[1:2] loop
                if v_number::int not between v_low[i] and v_high[i] then
                    return false;
                end if;
            end loop;
        end loop;
    end loop;
    return true;
end;
$$;
comment on function cron.valid_schedule(text) is 'The stand-in''s own: whether pg_cron would take this schedule.';

create or replace function cron.calling_role() returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- Within a security definer function current_user is the owner; the setting role still names the caller.
    select coalesce(nullif(current_setting('role'), 'none'), session_user);
$$;
comment on function cron.calling_role() is 'The stand-in''s own: the calling role, which owns the job.';

create or replace function cron.check_schedule(schedule text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if not cron.valid_schedule(schedule) then
        raise exception using
            errcode = '22023', message = format('invalid schedule: %s', schedule),
            hint = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
    end if;
end;
$$;
comment on function cron.check_schedule(text) is 'The stand-in''s own: raise 22023 for an invalid schedule.';

create or replace function cron.check_login(username text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_may_log_in boolean := (select rolcanlogin from pg_catalog.pg_roles where rolname = username);
begin
    if v_may_log_in is null then
        raise exception using errcode = 'XX000', message = format('role "%s" does not exist', username);
    end if;
    if not v_may_log_in then
        raise exception using
            errcode = 'XX000', message = format('role "%s" can not log in', username),
            detail = 'Jobs may only be run by roles that have the LOGIN attribute.';
    end if;
end;
$$;
comment on function cron.check_login(text) is 'The stand-in''s own: raise XX000 for a role that is absent or nologin.';

create or replace function cron.check_connect(username text, database text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_catalog.pg_database where datname = database) then
        raise exception using errcode = '3D000', message = format('database "%s" does not exist', database);
    end if;
    if not has_database_privilege(username, database, 'CONNECT') then
        raise exception using
            errcode = 'XX000', message = format('User %s does not have CONNECT privilege on %s', username, database);
    end if;
end;
$$;
comment on function cron.check_connect(text, text) is
'The stand-in''s own: raise 3D000 for an absent database, XX000 for one that the role may not connect to.';

create or replace function cron.put_job(
    p_name text, p_schedule text, p_command text, p_database text, p_username text, p_active boolean
) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller text := cron.calling_role();
    v_superuser boolean := (select rolsuper from pg_catalog.pg_roles where rolname = cron.calling_role());
    v_user text := coalesce(p_username, v_caller);
    v_database text := coalesce(p_database, current_database());
    v_id bigint;
begin
    perform cron.check_schedule(p_schedule);
    if p_username is not null then
        if not v_superuser then
            raise exception using
                errcode = 'XX000', message = 'must be superuser to create a job for another role';
        end if;
        perform cron.check_login(p_username);
    end if;
    perform cron.check_connect(v_user, v_database);
    insert into cron.job (schedule, command, nodeport, database, username, active, jobname)
    values (
        p_schedule, p_command, coalesce(inet_server_port(), current_setting('port')::int), v_database, v_user,
        p_active, p_name
    )
    on conflict (jobname, username) do update
    set schedule = excluded.schedule, command = excluded.command, database = excluded.database
    returning job.jobid into v_id;
    return v_id;
end;
$$;
comment on function cron.put_job(text, text, text, text, text, boolean) is
'The stand-in''s own: insert a job, or change the schedule, command and database of the user''s job of that name.';

create or replace function cron.schedule(schedule text, command text) returns bigint
language plpgsql strict security definer set search_path = pg_catalog, pg_temp
as $$ begin return cron.put_job(null, schedule, command, null, null, true); end; $$;
comment on function cron.schedule(text, text) is 'Schedule a command without a name; returns the job''s id.';

create or replace function cron.schedule(job_name text, schedule text, command text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if num_nulls(job_name, schedule, command) > 0 then
        raise exception using errcode = 'XX000', message = case
            when job_name is null then 'job_name' when schedule is null then 'schedule' else 'command'
        end || ' can not be NULL';
    end if;
    return cron.put_job(job_name, schedule, command, null, null, true);
end;
$$;
comment on function cron.schedule(text, text, text) is 'Schedule a command, or change the job of that name.';

create or replace function cron.schedule_in_database(
    job_name text, schedule text, command text, database text, username text default null, active boolean default true
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if num_nulls(job_name, schedule, command) > 0 then
        raise exception using errcode = 'XX000', message = case
            when job_name is null then 'job_name' when schedule is null then 'schedule' else 'command'
        end || ' can not be NULL';
    end if;
    return cron.put_job(job_name, schedule, command, database, username, coalesce(active, true));
end;
$$;
comment on function cron.schedule_in_database(text, text, text, text, text, boolean) is
'Schedule a command in another database, or as another role.';

create or replace function cron.alter_job(
    job_id bigint, schedule text default null, command text default null, database text default null,
    username text default null, active boolean default null
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_superuser boolean := (select rolsuper from pg_catalog.pg_roles where rolname = cron.calling_role());
begin
    if job_id is null then
        raise exception using errcode = 'XX000', message = 'job_id can not be NULL';
    end if;
    if alter_job.username is not null then
        if not v_superuser then
            raise exception using errcode = 'XX000', message = 'must be superuser to alter username';
        end if;
        perform cron.check_login(alter_job.username);
    end if;
    if alter_job.database is not null then
        -- As in pg_cron: the right to connect is that of the new user or the caller, not of the job's present user.
        perform cron.check_connect(coalesce(alter_job.username, cron.calling_role()), alter_job.database);
    end if;
    if alter_job.schedule is not null then
        perform cron.check_schedule(alter_job.schedule);
    end if;
    if num_nonnulls(
        alter_job.schedule, alter_job.command, alter_job.database, alter_job.username, alter_job.active
    ) = 0 then
        raise exception using errcode = 'XX000', message = 'no updates specified',
        hint = 'You must specify at least one job attribute to change when calling alter_job';
    end if;
    update cron.job as changed
    set schedule = coalesce(alter_job.schedule, changed.schedule),
        command = coalesce(alter_job.command, changed.command),
        database = coalesce(alter_job.database, changed.database),
        username = coalesce(alter_job.username, changed.username),
        active = coalesce(alter_job.active, changed.active)
    where changed.jobid = job_id and (v_superuser or changed.username = cron.calling_role());
    if not found then
        raise exception using
            errcode = 'XX000', message = format('Job %s does not exist or you don''t own it', job_id);
    end if;
end;
$$;
comment on function cron.alter_job(bigint, text, text, text, text, boolean) is
'Change a job: each argument that is not null.';

create or replace function cron.unschedule(job_id bigint) returns boolean
language plpgsql strict security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner text := (select job.username from cron.job where job.jobid = job_id);
begin
    if v_owner is null then
        raise exception using
            errcode = 'XX000', message = format('could not find valid entry for job %s', job_id);
    end if;
    if v_owner <> cron.calling_role() and not has_table_privilege(cron.calling_role(), 'cron.job', 'DELETE') then
        raise exception using errcode = '42501', message = 'permission denied for table job';
    end if;
    delete from cron.job where job.jobid = job_id;
    return true;
end;
$$;
comment on function cron.unschedule(bigint) is 'Remove a job by its id; a run of it is cancelled.';

create or replace function cron.unschedule(job_name text) returns boolean
language plpgsql strict security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from cron.job where job.jobname = job_name and job.username = cron.calling_role();
    if not found then
        raise exception using
            errcode = 'XX000', message = format('could not find valid entry for job ''%s''', job_name);
    end if;
    return true;
end;
$$;
comment on function cron.unschedule(text) is 'Remove the caller''s job of that name; a run of it is cancelled.';

revoke execute on function cron.check_schedule(text),
cron.check_login(text),
cron.check_connect(text, text),
cron.put_job(text, text, text, text, text, boolean),
cron.forget_clock_state(),
cron.schedule_in_database(text, text, text, text, text, boolean),
cron.alter_job(bigint, text, text, text, text, boolean) from public;
