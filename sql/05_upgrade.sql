-- A database of the original, either variant, becomes today's: every row and id stays, what is missing is added.
-- Acts only on what it finds; on a new or current database it does nothing.

do $$
declare
    v_check record;
    v_old name;
    v_column record;
    v_field_variant boolean;
begin
    if to_regclass('public.job_queue') is null then
        return;
    end if;

    -- The field variant counts in "attempts". Its statements go on reading and writing that column.
    v_field_variant := exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.job_queue'::regclass and attname = 'attempts'
    );

    if not exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.job_queue'::regclass and attname = 'lease_token'
    ) then
        alter table public.job_queue
            add column if not exists attempt_number int not null default 0,
            add column if not exists max_attempts int not null default 3,
            add column if not exists result jsonb,
            add column if not exists error_message text,
            add column if not exists completed_at timestamptz,
            add column if not exists scheduled_at timestamptz not null default now(),
            add column if not exists started_at timestamptz,
            add column if not exists created_by uuid,
            add column if not exists worker_id text,
            add column lease_token bigint not null default 0,
            add column if not exists lease_expires_at timestamptz;
        -- Once over what can still be run, and as little else as can be: nobody else uses the table meanwhile.
        execute $update$
            update public.job_queue
            set scheduled_at = coalesce(nullif(scheduled_at, now()), created_at, now()), -- keeps the order
                -- What the old worker has in hand it may finish in its own ten minutes; then the job runs again.
                lease_expires_at = case when status = 'processing' then now() + interval '10 minutes' end,
                -- What has ended without a time would never be purged.
                completed_at = case when status in ('completed', 'failed', 'cancelled')
                    then coalesce(completed_at, updated_at, created_at, now()) end,
                created_by = case
                    when created_by is null
                        and payload ->> 'user_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                        then (payload ->> 'user_id')::uuid
                    else created_by
                end
            $update$ || case
                when v_field_variant then ', attempt_number = coalesce(attempts, 0)'
                else 'where completed_at is null or status not in (''completed'', ''cancelled'')'
            end;
    end if;

    if v_field_variant then
        alter table public.job_queue alter column attempts drop expression if exists; -- an earlier one of ours
        create or replace function public.keep_attempts_in_step() returns trigger
        language plpgsql
        set search_path = ''
        as $body$
        begin
            if tg_op = 'INSERT' then
                new.attempt_number := greatest(new.attempts, new.attempt_number);
            elsif new.attempts is distinct from old.attempts then
                new.attempt_number := coalesce(new.attempts, 0);
            end if;
            new.attempts := new.attempt_number;
            return new;
        end;
        $body$;
        comment on column public.job_queue.attempts is 'The field variant''s name of attempt_number.';
        comment on function public.keep_attempts_in_step() is
        'Trigger, in the field variant only: attempts and attempt_number are one number, whichever is written.';
        revoke execute on function public.keep_attempts_in_step() from public, anon, authenticated;
        create or replace trigger keep_attempts_in_step
        before insert or update on public.job_queue
        for each row when (new.attempts is distinct from new.attempt_number)
        execute function public.keep_attempts_in_step();
    end if;

    alter table public.job_queue
        add column if not exists crash_count int not null default 0,
        add column if not exists errors jsonb not null default '[]'::jsonb,
        add column if not exists dedupe_key text;

    -- What the original's columns may lack and a claim counts on: a null priority would hide all that come after it.
    for v_column in
        select needed.name, needed.fallback
        from (values
            ('priority', '0'), ('attempt_number', '0'), ('max_attempts', '3'), ('payload', '''{}''::jsonb'),
            ('scheduled_at', 'now()'), ('created_at', 'now()'), ('updated_at', 'now()')
        ) as needed (name, fallback)
        inner join pg_catalog.pg_attribute
            on attrelid = 'public.job_queue'::regclass and attname = needed.name and not attnotnull
    loop
        execute format('update public.job_queue set %1$I = %2$s where %1$I is null', v_column.name, v_column.fallback);
        execute format(
            'alter table public.job_queue alter column %1$I set default %2$s, alter column %1$I set not null',
            v_column.name, v_column.fallback
        );
    end loop;

    -- The field variant lists its four job types. Ours are a handler each, and send-webhook is none of the four.
    for v_old in
        select conname from pg_catalog.pg_constraint
        where conrelid = 'public.job_queue'::regclass and contype = 'c'
            and conkey = array[(
                select attnum from pg_catalog.pg_attribute
                where attrelid = 'public.job_queue'::regclass and attname = 'job_type'
            )]
            and pg_get_constraintdef(oid) like '%download-image%' and pg_get_constraintdef(oid) not like '%send-webhook%'
    loop
        execute format('alter table public.job_queue drop constraint %I', v_old);
    end loop;

    -- Status checks that do not know "cancelled" give way to ours; rows that are there already are not judged.
    for v_check in
        select checked.name, checked.statuses
        from (values
            ('job_queue', '{pending,processing,completed,failed,cancelled}'),
            ('image_generations', '{pending,queued,processing,downloading,completed,failed,cancelled}')
        ) as checked (name, statuses)
        where to_regclass('public.' || checked.name) is not null
    loop
        for v_old in
            select conname from pg_catalog.pg_constraint
            where conrelid = to_regclass('public.' || v_check.name) and contype = 'c'
                and pg_get_constraintdef(oid) like '%status%' and pg_get_constraintdef(oid) not like '%cancelled%'
        loop
            execute format('alter table public.%I drop constraint %I', v_check.name, v_old);
        end loop;
        if not exists (
            select 1 from pg_catalog.pg_constraint
            where conrelid = to_regclass('public.' || v_check.name) and conname = v_check.name || '_status_check'
        ) then
            execute format(
                'alter table public.%I add constraint %I check (status = any (%L::text[])) not valid',
                v_check.name, v_check.name || '_status_check', v_check.statuses
            );
        end if;
    end loop;
end;
$$;

-- Functions whose arguments or results have changed: the original's, in both forms, and earlier ones of ours. They
-- cannot be replaced, and beside the new ones a call would be ambiguous. Whom somebody had granted one by name may call
-- the new one as well: sql/43_kept_rights.sql. What depends on one (a view, say) stops the upgrade, and is named.
do $$
declare
    v_function record;
    v_kept jsonb := '[]';
begin
    for v_function in
        select pg_proc.oid::regprocedure as signature, pg_proc.proname, pg_proc.proacl
        from pg_catalog.pg_proc
        inner join (values
            ('enqueue_job', '{p_dedupe_key}'::text[]),
            ('claim_jobs', '{p_job_types}'),
            ('claim_next_job', '{p_worker_id, error_details}'), -- the field variant's has p_job_types as well
            ('complete_job', '{p_error_class, p_error_details}'),
            ('requeue_expired', '{p_examine}'),
            ('finish_download_image', '{p_images}'),
            ('succeed_prediction', '{p_worker_id}'),
            ('claim_polls', '{generation_id}'),
            ('begin_generation', null), -- today's are begin_generate_image and sql/33_predictions.sql
            ('record_prediction', null),
            ('finish_generate_image', null),
            ('store_image', null),
            ('get_user_limits', '{p_user_id}')
        ) as today (name, arguments) on today.name = pg_proc.proname
        where pg_proc.pronamespace = 'public'::regnamespace
            and not coalesce(today.arguments <@ pg_proc.proargnames, false)
            -- Ours by position have no argument names.
            and not (pg_proc.proname in ('enqueue_job', 'complete_job') and pg_proc.proargnames is null)
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
