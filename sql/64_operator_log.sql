-- operator_log: what operators have done to the queue. log_operation: the line of it that each of their calls writes.
-- begin_operation: what is called until then is a part of this call.
-- Called by   the functions of operators (sql/23, 28, 29, 65), in their own transaction
-- Promises    append-only; one line for a call, however many jobs it changes; none for what is rolled back, nor for
--             what a user does to their own jobs

create table if not exists public.operator_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    operator text not null,
    action text not null,
    filter jsonb not null,
    jobs int
);

comment on table public.operator_log is
'Append-only log of operators'' calls. No role but the owner may change or delete a row, and nothing does.';
comment on column public.operator_log.id is 'Counts up; newer is greater.';
comment on column public.operator_log.at is 'When it was done.';
comment on column public.operator_log.operator is
'Who: the setting picture_edge.operator, or whom the API''s key or token stands for, or the database''s login.';
comment on column public.operator_log.action is 'The function''s name.';
comment on column public.operator_log.filter is 'Its arguments that were given.';
comment on column public.operator_log.jobs is 'How many jobs it changed, or holds; null where that is not known.';

create or replace function picture_edge.begin_operation(p_action text) returns void
language sql
set search_path = ''
as $$
    select set_config('picture_edge.operation', p_action, true);
$$;

comment on function picture_edge.begin_operation(text) is
'Until log_operation of the same name, or the end of the transaction, other operations are parts of this one.';

create or replace function picture_edge.log_operation(p_action text, p_filter jsonb, p_jobs int default null)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_around text := nullif(current_setting('picture_edge.operation', true), '');
    v_claims jsonb := nullif(current_setting('request.jwt.claims', true), '');
    v_operator text := coalesce(
        nullif(current_setting('picture_edge.operator', true), ''),
        v_claims ->> 'email', v_claims ->> 'sub', v_claims ->> 'role',
        -- A gateway's own calls are its users': one of them has cancelled a generation.
        case when current_setting('application_name') not like 'picture-edge%' then session_user end
    );
begin
    if v_around <> p_action then
        return;
    end if;
    perform picture_edge.begin_operation('');
    if v_operator is null then
        return;
    end if;
    insert into public.operator_log (operator, action, filter, jobs)
    values (v_operator, p_action, jsonb_strip_nulls(p_filter), p_jobs);
end;
$$;

comment on function picture_edge.log_operation(text, jsonb, int) is
'Write a line into operator_log. None within another operation, see
begin_operation, and none for a gateway''s call on behalf of a user.';

alter table public.operator_log enable row level security;
revoke all on public.operator_log from public, anon, authenticated, service_role;
revoke all on sequence public.operator_log_id_seq from public, anon, authenticated, service_role;
grant select, insert on public.operator_log to service_role;
drop policy if exists operator_log_select_service on public.operator_log;
create policy operator_log_select_service on public.operator_log for select to service_role using (true);
revoke execute on function picture_edge.log_operation(text, jsonb, int) from public, anon, authenticated;
grant execute on function picture_edge.log_operation(text, jsonb, int) to service_role;
revoke execute on function picture_edge.begin_operation(text) from public, anon, authenticated;
grant execute on function picture_edge.begin_operation(text) to service_role;

-- A role of the project's own that was granted an operator's function by name still has to be able to call it.
do $$
declare
    v_role name;
begin
    for v_role in
        select distinct pg_roles.rolname
        from pg_catalog.pg_proc
        cross join aclexplode(pg_proc.proacl) as given
        inner join pg_catalog.pg_roles on pg_roles.oid = given.grantee
        where pg_proc.pronamespace = 'public'::regnamespace
            and pg_proc.proname in (
                'pause_queue', 'resume_queue', 'set_provider_limit', 'cancel_job', 'redrive_job', 'redrive_failed'
            )
            and given.grantee <> pg_proc.proowner and pg_roles.rolname not in ('anon', 'authenticated', 'service_role')
    loop
        execute format('grant execute on function picture_edge.log_operation(text, jsonb, int) to %I', v_role);
        execute format('grant execute on function picture_edge.begin_operation(text) to %I', v_role);
        execute format('grant insert on public.operator_log to %I', v_role);
    end loop;
end;
$$;
