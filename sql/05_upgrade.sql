-- Tables of an earlier database, the original's in either variant or an earlier sql/ of ours: every row and id stays,
-- missing columns are added. Idempotent: on a new or current database it does nothing.

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

    -- The field variant counts attempts in "attempts". Its statements go on reading and writing that column.
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
        -- One pass, and over as few rows as possible: the table is locked exclusively meanwhile.
        execute $update$
            update public.job_queue
            set scheduled_at = coalesce(nullif(scheduled_at, now()), created_at, now()), -- keeps the order
                -- The old worker renews no lease: its job gets the ten minutes that it had there, then runs again. Not
                -- our workers' lease, which they pass with each call.
                lease_expires_at = case when status = 'processing' then now() + interval '10 minutes' end,
                -- An ended job without completed_at would never be purged.
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
        alter table public.job_queue alter column attempts drop expression if exists; -- generated, in an earlier sql/
        create or replace function picture_edge.keep_attempts_in_step() returns trigger
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
        comment on function picture_edge.keep_attempts_in_step() is
        'Trigger, in the field variant only: attempts and attempt_number are one number, whichever a statement writes.';
        revoke execute on function picture_edge.keep_attempts_in_step() from public, anon, authenticated;
        create or replace trigger keep_attempts_in_step
        before insert or update on public.job_queue
        for each row when (new.attempts is distinct from new.attempt_number)
        execute function picture_edge.keep_attempts_in_step();
    end if;

    alter table public.job_queue
        add column if not exists crash_count int not null default 0,
        add column if not exists errors jsonb not null default '[]'::jsonb,
        add column if not exists dedupe_key text;

    -- A job is parked if its prediction runs. Also where the column is there: an earlier sql/ of ours, to which somebody
    -- has gone back meanwhile, parks and claims without it.
    if to_regclass('public.predictions') is not null then
        alter table public.job_queue add column if not exists parked boolean not null default false;
        update public.job_queue set parked = not job_queue.parked
        where job_queue.status = 'processing' and job_queue.parked <> exists (
            select from public.predictions
            where predictions.job_id = job_queue.id and predictions.status = 'running'
                and predictions.lease_token = job_queue.lease_token
        );
    end if;

    -- Columns that a claim needs NOT NULL and the original has nullable: a null priority would hide all lanes behind
    -- it.
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

    -- The field variant's CHECK allows four job types. Ours are open (a type is a handler), and have send-webhook.
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

    -- Status checks without "cancelled" are replaced by ours, "not valid": existing rows are not checked.
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
