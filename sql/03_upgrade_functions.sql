-- Functions of an earlier database: those that cannot be replaced are dropped, internals leave the schema public.
-- Promises    a project's own function of an internal's name stays: ours are told by their empty search_path and their
--             comment, and move by their exact signature. Triggers go on calling what is moved, as its OID is the same.
--             Rights that were granted by name are kept: by the move itself, or by sql/43_kept_rights.sql.

-- Functions whose arguments, results or defaults have changed: the original's, in both forms, and earlier ones of ours.
-- "create or replace" refuses them, and beside the new ones a call would be ambiguous. What depends on one (a view,
-- say) stops the upgrade, and is named.
do $$
declare
    v_function record;
    v_kept jsonb := '[]';
begin
    for v_function in
        select pg_proc.oid::regprocedure as signature, pg_proc.proname, pg_proc.proacl
        from pg_catalog.pg_proc
        inner join (values
            -- The original's names: whichever form is there gives way.
            ('enqueue_job', true, '{p_dedupe_key}'::text[], null::int),
            ('claim_next_job', true, '{p_worker_id, error_details}', null), -- the field variant's has p_job_types too
            ('complete_job', true, '{p_error_class, p_error_details}', null),
            ('get_user_limits', true, '{p_user_id}', null),
            -- Ours.
            ('claim_jobs', false, '{p_job_types}', null),
            ('requeue_expired', false, '{p_examine}', null),
            ('redrive_failed', false, '{p_dry_run}', null),
            ('finish_download_image', false, '{p_images}', null),
            ('claim_polls', false, '{generation_id}', null),
            ('begin_generation', false, null, null), -- begin_generate_image and intend_prediction have taken its place
            ('record_prediction', false, null, null),
            ('finish_generate_image', false, null, null),
            ('store_image', false, null, null),
            -- p_lease has no default any more.
            ('succeed_prediction', false, '{p_worker_id}', 0),
            ('begin_alone', false, '{p_lease}', 0),
            ('claim_suspect', false, '{p_lease}', 1),
            ('extend_lease', false, '{p_lease}', 0),
            ('extend_leases', false, '{p_lease}', 0),
            -- Nor has p_provider.
            ('provider_allowance', false, '{p_provider}', 0),
            ('spend_provider_allowance', false, '{p_provider}', 0)
        ) as today (name, original, arguments, defaults) on today.name = pg_proc.proname
        where pg_proc.pronamespace = 'public'::regnamespace
            and (
                not coalesce(today.arguments <@ pg_proc.proargnames, false)
                or pg_proc.pronargdefaults > today.defaults
            )
            -- Ours by position have no argument names.
            and not (pg_proc.proname in ('enqueue_job', 'complete_job') and pg_proc.proargnames is null)
            and (
                today.original
                or (
                    pg_proc.proconfig @> array['search_path=""']
                    and obj_description(pg_proc.oid, 'pg_proc') is not null
                )
            )
    loop
        v_kept := v_kept || coalesce((
            select jsonb_agg(jsonb_build_array(v_function.proname, pg_roles.rolname))
            from aclexplode(v_function.proacl) as given
            inner join pg_catalog.pg_roles on pg_roles.oid = given.grantee
            where pg_roles.rolname not in ('anon', 'authenticated')
        ), '[]');
        execute format('drop function %s', v_function.signature);
    end loop;
    perform set_config('picture_edge.kept_rights', v_kept::text, false);
end;
$$;

-- Internals that an earlier sql/ of ours had in public.
do $$
declare
    v_internals oid[];
    v_internal oid;
    v_sequence text;
begin
    if not exists (
        select from pg_catalog.pg_attribute
        where attrelid = to_regclass('public.job_queue') and attname = 'lease_token'
    ) then
        return; -- no sql/ of ours was here: whatever has such a name is the project's own
    end if;
    v_internals := array(
        select pg_proc.oid
        from unnest(array[
            'abandon_prediction(uuid)', 'begin_generate_image(uuid, bigint, uuid, interval)',
            'check_quota(uuid, uuid)', 'check_users_generation()', 'claim_one(text, interval, text[])',
            'claim_polls(int)', 'complete_manual_change()', 'count_generation()', 'end_generation_use()',
            'end_quota_use(uuid, bigint)', 'ended_prediction(uuid, bigint)',
            'fail_prediction(uuid, bigint, text, text, text, boolean, interval)',
            'finish_download_image(uuid, bigint, jsonb)', 'held_job(uuid, bigint, text[])',
            'hint_generation_changed()', 'hold_quotas(uuid[])',
            'intend_prediction(uuid, bigint, text, text, jsonb, text, text[], interval)', 'keep_attempts_in_step()',
            'keep_generation_forward()', 'keep_process_jobs_key(text)', 'keep_source_image(text)',
            'limit_provider(interval, interval, text)', 'move_generation_with_job()',
            'park_prediction(uuid, bigint, text)', 'poll_ended_job()', 'process_jobs_headers()',
            'queue_webhook()', 'quota_use(uuid, uuid)', 'record_tick()',
            'release_job(uuid, bigint)', 'reopen_generation(uuid, text)', 'report_progress(uuid[], text[], int[])',
            'requeue_expired(int, int)', 'spend_quota(uuid, uuid, text)',
            'start_generation(uuid, jsonb)', 'start_generations(uuid[], jsonb[])',
            'start_generations_once(uuid, text, text, jsonb[])', 'store_images(uuid, jsonb)', 'tick_overdue()',
            'typical_seconds(text)', 'void_prediction(uuid, bigint, text, text)', 'wake_workers()'
        ]) as internal (signature)
        inner join pg_catalog.pg_proc on pg_proc.oid = to_regprocedure('public.' || internal.signature)
        where pg_proc.proconfig @> array['search_path=""'] and obj_description(pg_proc.oid, 'pg_proc') is not null
            and to_regprocedure('picture_edge.' || internal.signature) is null
    );
    if cardinality(v_internals) = 0 then
        return;
    end if;
    -- The queue before the sequences, in the order in which an enqueue locks them: no deadlock.
    lock table public.job_queue in access exclusive mode;
    foreach v_internal in array v_internals loop
        execute format('alter function %s set schema picture_edge', v_internal::regprocedure);
    end loop;
    foreach v_sequence in array array['job_wakeups', 'generation_hints'] loop
        if to_regclass('public.' || v_sequence) is not null then
            execute format('alter sequence public.%I set schema picture_edge', v_sequence);
        end if;
    end loop;
end;
$$;
