-- The roles of a Supabase project, created where they are absent.
-- A real Supabase has them all, and nothing here touches them.

do $$
declare
    v_role record;
begin
    for v_role in
        select wanted.name, wanted.options, wanted.statement_timeout
        from (values
            ('anon', 'nologin noinherit', '3s'),
            ('authenticated', 'nologin noinherit', '8s'),
            ('service_role', 'nologin noinherit bypassrls', null)
        ) as wanted (name, options, statement_timeout)
        where not exists (select 1 from pg_catalog.pg_roles where rolname = wanted.name)
    loop
        begin
            execute format('create role %I %s', v_role.name, v_role.options);
            if v_role.statement_timeout is not null then -- read by /rest/v1, as these roles do not log in
                execute format('alter role %I set statement_timeout = %L', v_role.name, v_role.statement_timeout);
            end if;
        exception when duplicate_object or unique_violation then
            null; -- race: roles are cluster-wide, and another database's set-up has created this one meanwhile
        end;
    end loop;
end;
$$;

grant usage on schema public to anon, authenticated, service_role;
