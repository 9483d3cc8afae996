-- set_user_quota, quota_use, check_quota: how much a user may ask for, and whether there is room for more.
-- Called by   operators; the gateway at its start, for everybody; start_generation and generate-image
-- Promises    no more than the quota, however many ask at once; without a quota nothing is counted or locked

create or replace function public.set_user_quota(
    p_user_id uuid default null, p_running int default null, p_hourly int default null, p_daily int default null
) returns void
language sql
set search_path = ''
as $$
    insert into public.user_quotas (user_id, running, hourly, daily)
    values (coalesce(p_user_id, '00000000-0000-0000-0000-000000000000'), p_running, p_hourly, p_daily)
    on conflict (user_id) do update set
        running = excluded.running, hourly = excluded.hourly, daily = excluded.daily, updated_at = clock_timestamp();
$$;

comment on function public.set_user_quota(uuid, int, int, int) is
'Let a user have so many generations at a time, an hour and a day; null is any number. Without p_user_id: everybody who
has no quota of their own.';

create or replace function public.quota_use(p_user_id uuid, p_except uuid default null)
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
        select image_generations.created_at, row_number() over (order by image_generations.created_at desc) as place
        from public.image_generations
        where image_generations.user_id = p_user_id
            and image_generations.created_at > clock_timestamp() - interval '24 hours'
            and image_generations.id is distinct from p_except
    ),
    running as (
        select count(*) as used
        from public.image_generations
        where image_generations.user_id = p_user_id
            and image_generations.status in ('queued', 'processing', 'downloading')
            and image_generations.id is distinct from p_except
    )
    select 'running', (select quotas.running from quotas), running.used::int, null from running
    union all
    -- There is room again once the oldest of as many as the quota has left the window.
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

comment on function public.quota_use(uuid, uuid) is
'A user''s quotas (running, hourly, daily; null: any number), what is used of each without the generation p_except, and
when there is room again.';

create or replace function public.check_quota(p_user_id uuid, p_except uuid default null) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_full record;
begin
    if not exists (
        select from public.user_quotas
        where user_quotas.user_id in (p_user_id, '00000000-0000-0000-0000-000000000000')
            and num_nonnulls(user_quotas.running, user_quotas.hourly, user_quotas.daily) > 0
    ) then
        return;
    end if;
    -- One request of a user at a time, to its commit: two could both see the last free place.
    perform pg_advisory_xact_lock(hashtextextended('picture_edge_quota ' || p_user_id, 0));
    select * into v_full
    from public.quota_use(p_user_id, p_except) as quota_use
    where quota_use.used >= quota_use.quota
    order by quota_use.free_at desc nulls last
    limit 1;
    if found then
        raise exception using
            errcode = 'PT429',
            message = case v_full.name
                when 'running' then format('You may have %s generations at a time', v_full.quota)
                when 'hourly' then format('You may have %s generations an hour', v_full.quota)
                else format('You may have %s generations a day', v_full.quota)
            end,
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

comment on function public.check_quota(uuid, uuid) is
'Refuse (PT429, with quota and retry_after in seconds, where it is known, as its detail) what a user''s quotas have no
room for, beside the generation p_except. Holds the user''s other requests back until the transaction ends.';

revoke execute on function public.set_user_quota(uuid, int, int, int) from public, anon, authenticated;
grant execute on function public.set_user_quota(uuid, int, int, int) to service_role;
revoke execute on function public.quota_use(uuid, uuid) from public, anon, authenticated;
grant execute on function public.quota_use(uuid, uuid) to service_role;
revoke execute on function public.check_quota(uuid, uuid) from public, anon, authenticated;
grant execute on function public.check_quota(uuid, uuid) to service_role;
