-- Internals that are in public although picture_edge has them: somebody has applied an earlier sql/ of ours in between,
-- to go back. By now the triggers call those of picture_edge again, so that these can go.

do $$
declare
    v_leftover record;
begin
    if to_regclass('public.job_wakeups') is null then
        return; -- an earlier sql/ makes it anew: without it, what bears such a name in public is the project's own
    end if;
    for v_leftover in
        select pg_proc.oid::regprocedure as signature
        from pg_catalog.pg_proc
        inner join pg_catalog.pg_proc as internal
            on internal.proname = pg_proc.proname and internal.proargtypes = pg_proc.proargtypes
        where pg_proc.pronamespace = 'public'::regnamespace and internal.pronamespace = 'picture_edge'::regnamespace
            and pg_proc.proconfig @> array['search_path=""'] and obj_description(pg_proc.oid, 'pg_proc') is not null
    loop
        execute format('drop function %s', v_leftover.signature);
    end loop;
    drop sequence public.job_wakeups;
    drop sequence if exists public.generation_hints;
end;
$$;
