-- The roles of a Supabase project, created where they are absent.
-- A real Supabase has them all, and nothing here touches them.

do $$
declare
    v_role record;
begin
    for v_role in
        select wanted.name, wanted.options
        from (values
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls')
        ) as wanted (name, options)
        where not exists (select 1 from pg_catalog.pg_roles where rolname = wanted.name)
    loop
        begin
            execute format('create role %I %s', v_role.name, v_role.options);
        exception when duplicate_object or unique_violation then
            null; -- race: roles are cluster-wide, and another database's set-up has created this one meanwhile
        end;
    end loop;
end;
$$;

grant usage on schema public to anon, authenticated, service_role;
