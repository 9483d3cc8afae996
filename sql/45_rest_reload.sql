-- Event triggers that tell /rest/v1 of a changed schema: NOTIFY pgrst, as upstream's documentation has them.
-- Called by   PostgreSQL, after each DDL statement of this database
-- Promises    made only where absent, as a Supabase project has its own of these names, and only where this role may.
--             Without them: NOTIFY pgrst, 'reload schema' after a migration
--
-- A trigger function runs with the rights of the role whose statement fires it, a superuser's too. So function and
-- triggers have one owner, who is a superuser: another owner could replace the function by anything.

do $$
begin
    if exists (
        select 1 from pg_catalog.pg_event_trigger
        inner join pg_catalog.pg_proc on pg_proc.oid = pg_event_trigger.evtfoid
        where pg_event_trigger.evtname in ('pgrst_ddl_watch', 'pgrst_drop_watch')
            and (
                pg_proc.pronamespace <> 'picture_edge'::regnamespace
                or not pg_has_role(pg_proc.proowner, 'usage')
            )
    ) then
        return;
    end if;

    create or replace function picture_edge.notify_schema_change() returns event_trigger
    language plpgsql
    set search_path = ''
    as $function$
    begin
        -- PostgreSQL delivers equal notifications of a transaction once.
        if tg_event = 'sql_drop' then
            if exists (select 1 from pg_catalog.pg_event_trigger_dropped_objects() where not is_temporary) then
                notify pgrst, 'reload schema';
            end if;
        elsif exists (
            select 1 from pg_catalog.pg_event_trigger_ddl_commands()
            where schema_name is distinct from 'pg_temp' and command_tag not in (
                'GRANT', 'REVOKE', 'CREATE INDEX', 'ALTER INDEX', 'CREATE STATISTICS', 'REFRESH MATERIALIZED VIEW',
                'CREATE POLICY', 'ALTER POLICY'
            )
        ) then
            notify pgrst, 'reload schema';
        end if;
    end;
    $function$;

    comment on function picture_edge.notify_schema_change() is
    'Event trigger: have /rest/v1 read the changed schema once this transaction commits (NOTIFY pgrst).';
    revoke execute on function picture_edge.notify_schema_change() from public, anon, authenticated;
    grant execute on function picture_edge.notify_schema_change() to service_role;

    if not exists (select 1 from pg_catalog.pg_event_trigger where evtname = 'pgrst_ddl_watch') then
        create event trigger pgrst_ddl_watch on ddl_command_end
        execute function picture_edge.notify_schema_change();
    end if;
    if not exists (select 1 from pg_catalog.pg_event_trigger where evtname = 'pgrst_drop_watch') then
        create event trigger pgrst_drop_watch on sql_drop
        execute function picture_edge.notify_schema_change();
    end if;
exception when insufficient_privilege then -- the function is gone again, with this block's subtransaction
    raise notice 'no event trigger for /rest/v1 without a superuser: NOTIFY pgrst, ''reload schema'' after a migration';
end;
$$;
