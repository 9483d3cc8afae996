-- Who had been granted a function that sql/05_upgrade.sql has dropped may call what has come in its place. Not anon and
-- authenticated, whose rights the functions' own files say; nor PUBLIC, whom the original never took them from.

do $$
declare
    v_kept record;
begin
    for v_kept in
        select pg_proc.oid::regprocedure as signature, given.name ->> 1 as role
        from jsonb_array_elements(coalesce(nullif(current_setting('picture_edge.kept_rights', true), ''), '[]')::jsonb)
            as given (name)
        inner join pg_catalog.pg_proc on pg_proc.proname = given.name ->> 0
        where pg_proc.pronamespace = 'public'::regnamespace
    loop
        execute format('grant execute on function %s to %I', v_kept.signature, v_kept.role);
    end loop;
    perform set_config('picture_edge.kept_rights', '', false);
end;
$$;
