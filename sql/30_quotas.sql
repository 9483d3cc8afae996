-- set_user_quota, quota_use, check_quota, check_quotas, spend_quota, end_quota_use: how much a user may ask for, and
-- has asked for.
-- Called by   operators; the gateway at its start, for everybody; start_generation and generate-image
-- Promises    no more than the quota, however many requests run at once, by whichever route; a use is written in the
--             transaction that checks for it, and nothing gives it back; without a quota nothing is counted or locked
-- How         quota_uses is an append-only ledger. A generation enters it by trigger when it is begun, by any caller; a
--             picture without a row, and a row that is paid for again, enter it by spend_quota.

create or replace function public.set_user_quota(
    p_user_id uuid default null, p_running int default null, p_hourly int default null, p_daily int default null
) returns void
language plpgsql
set search_path = ''
as $$
begin
    if least(p_running, p_hourly, p_daily) < 0 then
        raise exception using errcode = 'PT400', message = 'A quota must be 0 or more, or null for any number';
    end if;
    insert into public.user_quotas (user_id, running, hourly, daily)
    values (coalesce(p_user_id, '00000000-0000-0000-0000-000000000000'), p_running, p_hourly, p_daily)
    on conflict (user_id) do update set
        running = excluded.running, hourly = excluded.hourly, daily = excluded.daily, updated_at = clock_timestamp();
    raise notice '%: generations at a time %, an hour %, a day %',
        coalesce('User ' || p_user_id, 'Users without a quota of their own'), coalesce(p_running::text, 'any number'),
        coalesce(p_hourly::text, 'any number'), coalesce(p_daily::text, 'any number');
end;
$$;

comment on function public.set_user_quota(uuid, int, int, int) is
'Set a user''s quota: generations at a time, an hour and a day; null is any number. Without p_user_id: the default, for
all users without a quota of their own.';

create or replace function picture_edge.quota_use(p_user_id uuid, p_except uuid default null)
returns table (name text, quota int, used int, free_at timestamptz)
language sql
stable
set search_path = ''
as $$
    with quotas as (
        select user_quotas.*
        from public.user_quotas
        where user_quotas.user_id in (p_user_id, '00000000-0000-0000-0000-000000000000')
        order by user_quotas.user_id = p_user_id desc
        limit 1
    ),
    recent as (
        select quota_uses.created_at, row_number() over (order by quota_uses.created_at desc) as place
        from public.quota_uses
        where quota_uses.user_id = p_user_id
            -- Not clock_timestamp(): a volatile function cannot bound an index scan.
            and quota_uses.created_at > statement_timestamp() - interval '24 hours'
            and (p_except is null or quota_uses.generation_id is distinct from p_except)
    ),
    running as (
        select count(*) as used
        from public.quota_uses
        where quota_uses.user_id = p_user_id and quota_uses.ended_at is null
            and (p_except is null or quota_uses.generation_id is distinct from p_except)
            and (
                -- Longer than any call takes (ten minutes for the picture, the rest to fetch and store). An older use
                -- runs only where the queue says so: else its process has died, or the generation was deleted.
                quota_uses.created_at > statement_timestamp() - interval '15 minutes'
                or (
                    quota_uses.source <> 'generate-image'
                    and exists (
                        select from public.image_generations
                        where image_generations.id = quota_uses.generation_id
                            and image_generations.status in ('queued', 'processing', 'downloading')
                    )
                )
            )
    )
    select 'running', (select quotas.running from quotas), running.used::int, null from running
    union all
    -- Sliding window: there is room again once the oldest of the newest <quota> uses has left it.
    select
        'hourly',
        (select quotas.hourly from quotas),
        count(*) filter (where recent.created_at > clock_timestamp() - interval '1 hour')::int,
        max(recent.created_at) filter (where recent.place = (select quotas.hourly from quotas)) + interval '1 hour'
    from recent
    union all
    select
        'daily',
        (select quotas.daily from quotas),
        count(*)::int,
        max(recent.created_at) filter (where recent.place = (select quotas.daily from quotas)) + interval '24 hours'
    from recent;
$$;

comment on function picture_edge.quota_use(uuid, uuid) is
'A user''s quotas (running, hourly, daily; null: any number), what is used of each without the generation p_except, and
when there is room again.';

create or replace function picture_edge.check_quota(p_user_id uuid, p_except uuid default null) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_full record;
begin
    perform picture_edge.check_budget(p_user_id);
    if not exists (
        select from public.user_quotas
        where user_quotas.user_id in (p_user_id, '00000000-0000-0000-0000-000000000000')
            and num_nonnulls(user_quotas.running, user_quotas.hourly, user_quotas.daily) > 0
    ) then
        return;
    end if;
    -- Advisory lock, one request of a user at a time until its commit: two could both see the last free place.
    perform pg_advisory_xact_lock(hashtextextended('picture_edge_quota ' || p_user_id, 0));
    select * into v_full
    from picture_edge.quota_use(p_user_id, p_except) as quota_use
    where quota_use.used >= quota_use.quota
    order by quota_use.free_at desc nulls last
    limit 1;
    if found then
        raise exception using
            errcode = 'PT429',
            message = format(
                'You may have %s %s %s',
                v_full.quota,
                case v_full.quota when 1 then 'generation' else 'generations' end,
                case v_full.name when 'running' then 'at a time' when 'hourly' then 'an hour' else 'a day' end
            ),
            detail = json_build_object(
                'quota', v_full.quota,
                'retry_after', case
                    when v_full.free_at is not null
                        then greatest(1, ceil(extract(epoch from v_full.free_at - clock_timestamp())))
                end
            );
    end if;
end;
$$;

comment on function picture_edge.check_quota(uuid, uuid) is
'Refuse (PT429; its detail has quota, and retry_after in seconds where it is known) a request that a user''s quotas have
no room for, beside the generation p_except. Holds the user''s other requests back until the transaction ends. Counts
nothing: insert the generation as queued in the same transaction, or call spend_quota instead.';

create or replace function picture_edge.hold_quotas(p_user_ids uuid[]) returns void
language plpgsql
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('picture_edge_quota ' || held.user_id, 0))
    from (select distinct given.user_id from unnest(p_user_ids) as given (user_id) order by given.user_id) as held;
end;
$$;

comment on function picture_edge.hold_quotas(uuid[]) is
'Take the locks of check_quota for several users in one lock order: two batches never deadlock.';

create or replace function picture_edge.check_quotas(p_user_ids uuid[], p_generation_ids uuid[]) returns void
language plpgsql
set search_path = ''
as $$
begin
    perform picture_edge.check_budget(asked.user_id)
    from (select distinct given.user_id from unnest(p_user_ids) as given (user_id)) as asked;
    if not exists (
        select from public.user_quotas
        where num_nonnulls(user_quotas.running, user_quotas.hourly, user_quotas.daily) > 0
    ) then
        return;
    end if;
    perform picture_edge.hold_quotas(p_user_ids);
    if not exists (
        select from (
            select given.user_id, count(*) as wanted from unnest(p_user_ids) as given (user_id) group by given.user_id
        ) as asked
        cross join lateral picture_edge.quota_use(asked.user_id) as quota_use
        where quota_use.used + asked.wanted > quota_use.quota
    ) then
        return;
    end if;
    -- One by one: the refusal is the first one's, as the uses before it leave it.
    for v_place in 1..cardinality(p_user_ids) loop
        perform picture_edge.check_quota(p_user_ids[v_place]);
        insert into public.quota_uses (user_id, generation_id, source)
        values (p_user_ids[v_place], p_generation_ids[v_place], 'queue');
    end loop;
end;
$$;

comment on function picture_edge.check_quotas(uuid[], uuid[]) is
'check_quota for each generation of a batch, those of the same user before it counted. Insert them as queued in the same
transaction.';

create or replace function picture_edge.spend_quota(
    p_user_id uuid, p_generation_id uuid default null, p_source text default 'sql'
) returns bigint
language plpgsql
set search_path = ''
set lock_timeout = '3s' -- fail fast: a locked ledger is an error to its caller, not a connection held for ever
as $$
declare
    v_id bigint;
begin
    perform picture_edge.check_quota(p_user_id);
    if current_setting('transaction_read_only') = 'on' and not exists (
        select from picture_edge.quota_use(p_user_id) as quota_use where quota_use.quota is not null
    ) then
        return null; -- a standby cannot write the use, and without a quota nothing reads it
    end if;
    insert into public.quota_uses (user_id, generation_id, source)
    values (p_user_id, p_generation_id, p_source)
    returning quota_uses.id into v_id;
    return v_id;
end;
$$;

comment on function picture_edge.spend_quota(uuid, uuid, text) is
'check_quota, and the use written to the ledger in the same transaction; returns its id (null on a standby, for users
without quotas). With p_generation_id the use runs until the generation ends, and the generation counts no second time;
without one, until end_quota_use. Each call is a use: also one more for a generation that is paid for again.';

create or replace function picture_edge.end_quota_use(p_user_id uuid, p_use_id bigint) returns void
language sql
set search_path = ''
as $$
    update public.quota_uses set ended_at = clock_timestamp()
    where quota_uses.user_id = p_user_id and quota_uses.id = p_use_id and quota_uses.ended_at is null;
$$;

comment on function picture_edge.end_quota_use(uuid, bigint) is
'End a use of spend_quota: it runs no longer, and stays counted for its hour and its day.';

-- By statement, not by row: a batch of starts writes its uses at once.
create or replace function picture_edge.count_generations() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    -- Before any right to the ledger is needed: users insert rows of their own that nobody has begun.
    if exists (
        select from begun
        where begun.user_id is not null and begun.status in ('queued', 'processing', 'downloading')
    ) then
        insert into public.quota_uses (user_id, generation_id, source, created_at)
        select begun.user_id, begun.id, 'queue', begun.created_at
        from begun
        where begun.user_id is not null and begun.status in ('queued', 'processing', 'downloading')
            and ( -- else spend_quota has counted this generation a moment ago
                -- Scalar, with a limit: as an anti join its plan from an empty ledger reads all open uses.
                select quota_uses.id
                from public.quota_uses
                where quota_uses.user_id = begun.user_id and quota_uses.generation_id = begun.id
                    and quota_uses.ended_at is null
                limit 1
            ) is null;
    end if;
    return null;
end;
$$;

comment on function picture_edge.count_generations() is
'Trigger: generations that are inserted as begun are uses of their users'' quotas, by any caller, unless spend_quota
counted them.';

create or replace function picture_edge.count_generation() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    insert into public.quota_uses (user_id, generation_id, source, created_at)
    select new.user_id, new.id, 'queue', clock_timestamp()
    where not exists ( -- spend_quota has counted this generation a moment ago
        select from public.quota_uses
        where quota_uses.user_id = new.user_id and quota_uses.generation_id = new.id and quota_uses.ended_at is null
    );
    return null;
end;
$$;

comment on function picture_edge.count_generation() is
'Trigger: a pending generation that is begun is a use of its user''s quota, by any caller, unless spend_quota counted
it.';

create or replace function picture_edge.end_generation_use() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if new.status in ('completed', 'failed', 'cancelled') then
        update public.quota_uses set ended_at = clock_timestamp()
        where quota_uses.user_id = new.user_id and quota_uses.generation_id = new.id and quota_uses.ended_at is null;
    else
        update public.quota_uses set ended_at = null
        where quota_uses.user_id = new.user_id
            and quota_uses.id = (
                select latest.id
                from public.quota_uses as latest
                where latest.user_id = new.user_id and latest.generation_id = new.id
                order by latest.created_at desc, latest.id desc
                limit 1
            );
    end if;
    return null;
end;
$$;

comment on function picture_edge.end_generation_use() is
'Trigger: the use of a generation runs until its end, and again when the generation is reopened.';

do $$
begin
    if exists (
        select from pg_catalog.pg_trigger
        where tgrelid = 'public.image_generations'::regclass and tgname = 'count_begun_generation'
    ) then
        return;
    end if;
    -- Backfill, once, before the triggers exist: an upgrade gives nobody their quota back.
    lock table public.image_generations in share row exclusive mode;
    insert into public.quota_uses (user_id, generation_id, source, created_at, ended_at)
    select
        old.user_id,
        old.id,
        'queue',
        coalesce(old.created_at, now()),
        case
            when old.status in ('completed', 'failed', 'cancelled')
                then coalesce(old.completed_at, old.updated_at, old.created_at, now())
        end
    from public.image_generations as old
    where old.user_id is not null
        and old.status <> 'pending' -- not begun, so not a use yet
        and (
            old.status in ('queued', 'processing', 'downloading')
            or coalesce(old.created_at, now()) > now() - interval '24 hours'
        )
        and not exists (select from public.quota_uses where quota_uses.generation_id = old.id);
end;
$$;

create or replace trigger count_inserted_generation
after insert on public.image_generations
referencing new table as begun
for each statement
execute function picture_edge.count_generations();

create or replace trigger count_begun_generation
after update of status on public.image_generations
for each row
when (
    new.user_id is not null and old.status = 'pending' and new.status in ('queued', 'processing', 'downloading')
)
execute function picture_edge.count_generation();

create or replace trigger end_generation_use
after update of status on public.image_generations
for each row
when (
    (old.status in ('completed', 'failed', 'cancelled')) <> (new.status in ('completed', 'failed', 'cancelled'))
)
execute function picture_edge.end_generation_use();

revoke execute on function public.set_user_quota(uuid, int, int, int) from public, anon, authenticated;
grant execute on function public.set_user_quota(uuid, int, int, int) to service_role;
revoke execute on function picture_edge.quota_use(uuid, uuid) from public, anon, authenticated;
grant execute on function picture_edge.quota_use(uuid, uuid) to service_role;
revoke execute on function picture_edge.check_quota(uuid, uuid) from public, anon, authenticated;
grant execute on function picture_edge.check_quota(uuid, uuid) to service_role;
revoke execute on function picture_edge.hold_quotas(uuid[]) from public, anon, authenticated;
grant execute on function picture_edge.hold_quotas(uuid[]) to service_role;
revoke execute on function picture_edge.check_quotas(uuid[], uuid[]) from public, anon, authenticated;
grant execute on function picture_edge.check_quotas(uuid[], uuid[]) to service_role;
revoke execute on function picture_edge.spend_quota(uuid, uuid, text) from public, anon, authenticated;
grant execute on function picture_edge.spend_quota(uuid, uuid, text) to service_role;
revoke execute on function picture_edge.end_quota_use(uuid, bigint) from public, anon, authenticated;
grant execute on function picture_edge.end_quota_use(uuid, bigint) to service_role;
revoke execute on function picture_edge.count_generations() from public, anon, authenticated;
revoke execute on function picture_edge.count_generation() from public, anon, authenticated;
revoke execute on function picture_edge.end_generation_use() from public, anon, authenticated;
