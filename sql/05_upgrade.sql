-- A database of the original, either variant, becomes today's: every row and id stays, what is missing is added.
-- Acts only on what it finds; on a new or current database it does nothing.

do $$
declare
    v_check record;
    v_old name;
begin
    if to_regclass('public.job_queue') is null then
        return;
    end if;

    -- The field variant counts in "attempts". Its readers find that column as before; to reset it, set attempt_number.
    if exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.job_queue'::regclass and attname = 'attempts' and attgenerated = ''
    )and not exists (
        select 1 from pg_catalog.pg_attribute
        where attrelid = 'public.job_queue'::regclass and attname = 'attempt_number'
    ) then
        alter table public.job_queue rename column attempts to attempt_number;
        alter table public.job_queue add column attempts int generated always as (attempt_number) stored;
    end if;

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
            add column if not exists scheduled_at timestamptz, -- filled from created_at below, which keeps the order
            add column if not exists started_at timestamptz,
            add column if not exists created_by uuid,
            add column if not exists worker_id text,
            add column lease_token bigint not null default 0,
            add column if not exists lease_expires_at timestamptz,
            add column if not exists errors jsonb not null default '[]'::jsonb;
        -- Values that the original's nullable columns may lack; a null priority would come before all others.
        update public.job_queue
        set priority = coalesce(priority, 0), attempt_number = coalesce(attempt_number, 0),
            max_attempts = coalesce(max_attempts, 3), scheduled_at = coalesce(scheduled_at, created_at)
        where priority is null or attempt_number is null or max_attempts is null or scheduled_at is null;
        alter table public.job_queue
            alter column scheduled_at set default now(),
            alter column scheduled_at set not null;
        -- What the old worker has in hand it may finish in its own ten minutes; then the job runs again.
        update public.job_queue set lease_expires_at = now() + interval '10 minutes' where status = 'processing';
        update public.job_queue set created_by = (payload ->> 'user_id')::uuid
        where created_by is null
            and payload ->> 'user_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
    end if;

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

-- The original's functions: results and argument names cannot be replaced, and its overloads would be ambiguous.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select oid::regprocedure from pg_catalog.pg_proc
        where pronamespace = 'public'::regnamespace
            and (
                (proname = 'claim_next_job' and not coalesce('lease_token' = any (proargnames), false))
                or (proname = 'complete_job' and not coalesce('p_lease_token' = any (proargnames), false))
                or (
                    proname = 'enqueue_job' and proargnames is not null
                    and not coalesce('p_created_by' = any (proargnames), false)
                )
            )
    loop
        execute format('drop function %s', v_function);
    end loop;
end;
$$;

-- A view of the original's that shows rows with its owner's rights, and perhaps in other types.
do $$
begin
    if exists (
        select 1 from pg_catalog.pg_class
        where oid = to_regclass('public.queue_health') and reloptions is null
    ) then
        drop view public.queue_health;
    end if;
end;
$$;
