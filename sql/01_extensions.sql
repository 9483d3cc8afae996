-- pg_cron and pg_net, where the server has them and they serve this database: each has one background worker per
-- cluster, and only if preloaded. A stand-in that a clock has installed before is replaced, and its jobs are migrated.

do $$
declare
    v_wanted record;
    v_jobs jsonb;
    v_job jsonb;
begin
    for v_wanted in
        select wanted.extension, wanted.schema
        from (values ('pg_cron', 'cron'), ('pg_net', 'net')) as wanted (extension, schema)
        where exists (select 1 from pg_catalog.pg_available_extensions where name = wanted.extension)
            and not exists (select 1 from pg_catalog.pg_extension where extname = wanted.extension)
    loop
        v_jobs := '[]';
        begin -- a subtransaction: where the extension cannot be created, the stand-in stays as it was
            -- pg_cron refuses CREATE EXTENSION in another database; pg_net allows it, and would never send.
            if current_setting('pg_net.database_name', true) <> current_database() and v_wanted.schema = 'net' then
                raise exception 'it serves database %', current_setting('pg_net.database_name');
            end if;
            if obj_description(to_regnamespace(v_wanted.schema), 'pg_namespace') like 'Stand-in for %' then
                if v_wanted.schema = 'cron' then
                    execute 'select coalesce(jsonb_agg(to_jsonb(job) order by jobid), ''[]'') from cron.job'
                    into v_jobs;
                end if;
                execute format('drop schema %I cascade', v_wanted.schema);
            end if;
            execute format('create extension %I', v_wanted.extension) || case
                -- Supabase's schema for extensions; pg_cron brings its own.
                when v_wanted.schema = 'net' and to_regnamespace('extensions') is not null then ' schema extensions'
                else ''
            end;
            for v_job in select value from jsonb_array_elements(v_jobs) loop
                -- Inserted as rows, as cron.schedule would name and activate an unnamed or inactive job.
                execute
                    'insert into cron.job (schedule, command, nodeport, database, username, active, jobname)'
                    ' values ($1, $2, current_setting(''port'')::int, $3, $4, $5, $6)'
                using v_job ->> 'schedule', v_job ->> 'command', v_job ->> 'database', v_job ->> 'username',
                (v_job ->> 'active')::boolean, v_job ->> 'jobname';
            end loop;
        exception when others then
            raise notice 'extension % is installed but cannot be used here: %', v_wanted.extension, sqlerrm;
        end;
    end loop;
end;
$$;
