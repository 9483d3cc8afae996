-- Clients watch these tables through Realtime: Supabase's own, or /realtime/v1 of the gateway. On a plain PostgreSQL
-- the publication and the table of private channels are made here, in Supabase's shape.

do $$
declare
    v_table text;
    v_level text := pg_catalog.current_setting('client_min_messages');
begin
    if not exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        if not pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') then
            return;
        end if;
        -- Silent: below wal_level logical the server warns that it will publish nothing.
        perform pg_catalog.set_config('client_min_messages', 'error', true);
        create publication supabase_realtime;
        perform pg_catalog.set_config('client_min_messages', v_level, true);
    end if;
    foreach v_table in array array['image_generations', 'job_queue', 'images'] loop
        if not exists (
            select 1 from pg_catalog.pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = v_table
        ) then
            execute format('alter publication supabase_realtime add table public.%I', v_table);
        end if;
    end loop;
end;
$$;

do $$
begin
    if pg_catalog.to_regnamespace('realtime') is null then
        create schema realtime;
        comment on schema realtime is 'Private channels of /realtime/v1, in Supabase''s shape.';
        grant usage on schema realtime to anon, authenticated, service_role;
    end if;
    if pg_catalog.to_regclass('realtime.messages') is null then
        create table realtime.messages (
            topic text not null,
            extension text not null,
            payload jsonb,
            event text,
            private boolean default false,
            updated_at timestamp not null default now(),
            inserted_at timestamp not null default now(),
            id uuid not null default gen_random_uuid(),
            primary key (id, inserted_at)
        );
        comment on table realtime.messages is 'Its policies decide who may read (select) and write (insert) the topics
of private channels. Holds no rows: those that are tried are rolled back.';
        alter table realtime.messages enable row level security;
        grant select, insert, update on realtime.messages to anon, authenticated, service_role;
    end if;
    if pg_catalog.to_regprocedure('realtime.topic()') is null then
        create function realtime.topic() returns text
        language sql
        stable
        set search_path = ''
        as 'select nullif(pg_catalog.current_setting(''realtime.topic'', true), '''')::text';
        comment on function realtime.topic() is 'The topic whose policies are asked, for those policies.';
        grant execute on function realtime.topic() to anon, authenticated, service_role;
    end if;
end;
$$;

-- The trigger of /realtime/v1 where the server has no logical decoding: the gateway puts it on the publication's tables
-- while somebody listens (changes/triggers.py). Its arguments are the columns of the primary key.
create or replace function picture_edge.tell_realtime() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_old jsonb;
    v_new jsonb;
    v_told text;
begin
    if tg_op <> 'INSERT' then
        v_old := to_jsonb(old);
    end if;
    if tg_op <> 'DELETE' then
        v_new := to_jsonb(new);
    end if;
    v_told := json_build_object(
        'table', tg_relid::bigint,
        'operation', tg_op,
        'at', clock_timestamp(), -- also keeps NOTIFY from dropping a second change of the row as a duplicate
        'key', (select json_object_agg(k, v_new ->> k) from unnest(tg_argv) as k where v_new is not null),
        'old', (select json_object_agg(k, v_old ->> k) from unnest(tg_argv) as k where v_old is not null)
    )::text;
    if octet_length(v_told) < 8000 then -- a longer payload is an error, which would undo the change itself
        perform pg_notify('picture_edge_changes', v_told);
    end if;
    return null;
end;
$$;

comment on function picture_edge.tell_realtime() is 'Trigger: tells /realtime/v1 table, key and operation of a change,
where the server has no logical decoding.';
revoke execute on function picture_edge.tell_realtime() from public, anon, authenticated;
grant execute on function picture_edge.tell_realtime() to service_role;
