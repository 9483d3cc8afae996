-- Roles and the auth schema of a Supabase project, created where they are absent.
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

do $do$
begin
    if exists (select 1 from pg_catalog.pg_namespace where nspname = 'auth') then
        return;
    end if;

    create schema auth;
    comment on schema auth is 'Stand-in for Supabase Auth''s schema: the identity of the caller, for policies.';

    create table auth.users (
        id uuid primary key default gen_random_uuid(),
        email text unique,
        created_at timestamptz not null default now()
    );
    comment on table auth.users is 'Known users. No foreign key refers to this table: a valid token is enough.';

    create function auth.jwt() returns jsonb language sql stable set search_path = ''
    as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
    comment on function auth.jwt() is 'The claims of the request''s token, or null.';

    create function auth.uid() returns uuid language sql stable set search_path = ''
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.sub', true), ''), auth.jwt() ->> 'sub'
        )::uuid
    $$;
    comment on function auth.uid() is 'The signed-in user''s id, or null.';

    create function auth.role() returns text language sql stable set search_path = ''
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.role', true), ''), auth.jwt() ->> 'role'
        )
    $$;
    comment on function auth.role() is 'The role the request''s token claims, or null.';

    grant usage on schema auth to anon, authenticated, service_role;
end;
$do$;
