-- Rights granted by name outlive an upgrade. Roles that had been granted a function that sql/03_upgrade_functions.sql
-- has dropped may call its successor, and roles with a function of picture_edge may use that schema. Not anon and
-- authenticated, whose rights the functions' own files set; nor PUBLIC, whom the original never took them from.

do $$
declare
    v_kept record;
begin
    for v_kept in
        select pg_proc.oid::regprocedure as signature, given.name ->> 1 as role
        from jsonb_array_elements(coalesce(nullif(current_setting('picture_edge.kept_rights', true), ''), '[]')::jsonb)
            as given (name)
        inner join pg_catalog.pg_proc on pg_proc.proname = given.name ->> 0
        where pg_proc.pronamespace in ('public'::regnamespace, 'picture_edge'::regnamespace)
    loop
        execute format('grant execute on function %s to %I', v_kept.signature, v_kept.role);
    end loop;
    perform set_config('picture_edge.kept_rights', '', false);
    for v_kept in
        select distinct pg_roles.rolname as role
        from pg_catalog.pg_proc
        cross join aclexplode(pg_proc.proacl) as given
        inner join pg_catalog.pg_roles on pg_roles.oid = given.grantee
        where pg_proc.pronamespace = 'picture_edge'::regnamespace
            and given.grantee <> pg_proc.proowner and pg_roles.rolname not in ('anon', 'authenticated', 'service_role')
    loop
        execute format('grant usage on schema picture_edge to %I', v_kept.role);
    end loop;
    for v_kept in
        select distinct pg_roles.rolname as role
        from pg_catalog.pg_proc
        cross join aclexplode(pg_proc.proacl) as given
        inner join pg_catalog.pg_roles on pg_roles.oid = given.grantee
        where pg_proc.pronamespace = 'public'::regnamespace and pg_proc.proname in ('claim_jobs', 'claim_next_job')
            and given.grantee <> pg_proc.proowner and pg_roles.rolname not in ('anon', 'authenticated', 'service_role')
    loop
        execute format('grant usage on schema picture_edge to %I', v_kept.role);
        execute format('grant select on public.job_types to %I', v_kept.role);
        execute format('grant select on sequence picture_edge.lane_changes to %I', v_kept.role);
        execute format(
            'grant execute on function picture_edge.due_parts(text[], int),'
            ' picture_edge.find_lanes(text[], timestamptz, picture_edge.lane_part[]) to %I', v_kept.role
        );
    end loop;
end;
$$;
