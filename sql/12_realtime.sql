-- Clients watch these two tables through Supabase Realtime, where there is one.

do $$
declare
    v_table text;
begin
    if not exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        return;
    end if;
    foreach v_table in array array['image_generations', 'job_queue'] loop
        if not exists (
            select 1 from pg_catalog.pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = v_table
        ) then
            execute format('alter publication supabase_realtime add table public.%I', v_table);
        end if;
    end loop;
end;
$$;
