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
        alter table realtime.messages enable row level security;
        grant select, insert, update on realtime.messages to anon, authenticated, service_role;
        create index messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
        where extension = 'broadcast' and private is true;
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

-- Broadcast from the database, in Supabase's signatures: a row of realtime.messages is a broadcast. Written under the
-- caller's role, so that its policies decide; an error is a warning, and never undoes the caller's own change.
do $$
begin
    if pg_catalog.to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null then
        return;
    end if;
    create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
    language plpgsql
    set search_path = ''
    as $send$
    declare
        v_id uuid := gen_random_uuid();
        v_topic text := pg_catalog.current_setting('realtime.topic', true);
    begin
        perform pg_catalog.set_config('realtime.topic', send.topic, true);
        insert into realtime.messages (id, payload, event, topic, private, extension)
        values (
            v_id,
            case when send.payload ? 'id' then send.payload
                else pg_catalog.jsonb_set(send.payload, '{id}', pg_catalog.to_jsonb(v_id)) end,
            send.event, send.topic, send.private, 'broadcast'
        );
        perform pg_catalog.set_config('realtime.topic', coalesce(v_topic, ''), true);
    exception when others then
        raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
    end;
    $send$;
    comment on function realtime.send(jsonb, text, text, boolean) is 'Broadcast payload as event to the channels of
topic, once the transaction has committed.';
    revoke execute on function realtime.send(jsonb, text, text, boolean) from public;
    grant execute on function realtime.send(jsonb, text, text, boolean) to anon, authenticated, service_role;

    create function realtime.broadcast_changes(
        topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record,
        level text default 'ROW'
    ) returns void
    language plpgsql
    set search_path = ''
    as $changes$
    begin
        if level = 'STATEMENT' then
            raise exception 'function can only be triggered for each row, not for each statement';
        end if;
        if operation is null or operation not in ('INSERT', 'UPDATE', 'DELETE') then
            raise exception 'Unexpected operation type: %', operation;
        end if;
        perform realtime.send(
            pg_catalog.jsonb_build_object(
                'old_record', old, 'record', new, 'operation', operation,
                'table', table_name, 'schema', table_schema
            ),
            event_name, topic_name
        );
    exception when others then
        raise exception 'Failed to process the row: %', sqlerrm;
    end;
    $changes$;
    comment on function realtime.broadcast_changes(text, text, text, text, text, record, record, text) is 'For triggers:
broadcast a row''s change to the private channels of topic_name.';
    revoke execute on function realtime.broadcast_changes(text, text, text, text, text, record, record, text)
    from public;
    grant execute on function realtime.broadcast_changes(text, text, text, text, text, record, record, text)
    to anon, authenticated, service_role;
end;
$$;

-- NOTIFY with the message inline; one above NOTIFY's 8,000 bytes is read from the table by its id. Rows that only ask
-- for a right (authorization.py) have no event, and are rolled back.
create or replace function picture_edge.tell_broadcast() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_told text := json_build_object(
        'kind', 'message', 'id', new.id, 'topic', new.topic, 'private', coalesce(new.private, false),
        'event', new.event, 'payload', new.payload
    )::text;
begin
    if octet_length(v_told) >= 8000 then
        v_told := json_build_object('kind', 'stored', 'id', new.id)::text;
    end if;
    perform pg_notify('picture_edge_broadcast', v_told);
    return null;
end;
$$;

comment on function picture_edge.tell_broadcast() is 'Trigger: tells /realtime/v1 of a row of realtime.messages.';
revoke execute on function picture_edge.tell_broadcast() from public, anon, authenticated;
grant execute on function picture_edge.tell_broadcast() to service_role;

do $$
begin
    -- A plain table is ours; Supabase's is partitioned, and its own Realtime reads it.
    if exists (
        select 1 from pg_catalog.pg_class as c
        where c.oid = pg_catalog.to_regclass('realtime.messages') and c.relkind = 'r'
            and pg_catalog.pg_has_role(c.relowner, 'usage')
    ) then
        comment on table realtime.messages is 'Broadcasts, kept for three days. Its policies decide who may read
(select) and write (insert) the topics of private channels.';
        create or replace trigger picture_edge_broadcast after insert on realtime.messages
        for each row when (new.extension = 'broadcast' and new.event is not null and new.payload is not null)
        execute function picture_edge.tell_broadcast();
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
