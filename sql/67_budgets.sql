-- budgets: how much may be spent a day and a month, by each user and by all together. set_budget, check_budget.
-- keep_spend_hours: sums of hours that are over, so that a month is added up from 744 of them and three hours of the
-- ledger.
-- Called by   operators; check_quota (sql/30_quotas.sql): start-generation and generate-image, before anything is paid
-- Promises    a request beyond a budget is refused: the user's own with PT429 and when there is money again, that of
--             all with PT402. Without a budget nothing is summed. Predictions under way count with their price, jobs
--             that wait do not: a burst may exceed a budget by what is waiting.

create table if not exists public.budgets (
    scope text primary key,
    daily_usd numeric,
    monthly_usd numeric,
    updated_at timestamptz not null default clock_timestamp(),
    constraint budgets_positive check (least(daily_usd, monthly_usd) >= 0)
);

comment on table public.budgets is 'Budgets in US dollars by UTC day and UTC month, of what has a known price.';
comment on column public.budgets.scope is
'all: everything together; user: each user without a budget of their own; or a user''s id.';
comment on column public.budgets.daily_usd is 'A UTC day''s; null: any amount.';
comment on column public.budgets.monthly_usd is 'A UTC month''s; null: any amount.';
comment on column public.budgets.updated_at is 'When it was set.';

create table if not exists public.spend_hours (
    hour timestamptz primary key,
    usd numeric not null
);

comment on table public.spend_hours is
'What each hour that is over for two hours came to. A cache: derived from spend.';
comment on column public.spend_hours.hour is 'Its begin.';
comment on column public.spend_hours.usd is 'US dollars without refunds.';

create or replace function picture_edge.keep_spend_hours() returns void
language sql
set search_path = ''
as $$
    insert into public.spend_hours (hour, usd)
    select date_trunc('hour', spend.at, 'UTC'), coalesce(sum(spend.usd - spend.refunded_usd), 0)
    from public.spend
    where spend.at >= coalesce((select max(spend_hours.hour) + interval '1 hour' from public.spend_hours), '-infinity')
        and spend.at < date_trunc('hour', statement_timestamp(), 'UTC') - interval '2 hours'
    group by date_trunc('hour', spend.at, 'UTC')
    on conflict (hour) do nothing;
$$;

comment on function picture_edge.keep_spend_hours() is
'Add up the hours that are over for two hours, since the last call.';

create or replace function picture_edge.spent(p_since timestamptz, p_user_id uuid default null) returns numeric
language sql
stable
set search_path = ''
as $$
    with kept as (
        select
            coalesce(sum(spend_hours.usd) filter (where spend_hours.hour >= p_since), 0) as usd,
            coalesce(max(spend_hours.hour) + interval '1 hour', '-infinity') as until
        from public.spend_hours
        where p_user_id is null
            and spend_hours.hour >= least(p_since, statement_timestamp() - interval '32 days')
    )
    select kept.usd + coalesce((
        select sum(spend.usd - spend.refunded_usd) from public.spend
        where spend.at >= greatest(p_since, kept.until) and (p_user_id is null or spend.user_id = p_user_id)
    ), 0)
    from kept;
$$;

comment on function picture_edge.spent(timestamptz, uuid) is
'US dollars spent since the begin of an hour, by a user or by all (null), without refunds.';

create or replace function picture_edge.check_budget(p_user_id uuid) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_full record;
begin
    if not exists (select from public.budgets where num_nonnulls(budgets.daily_usd, budgets.monthly_usd) > 0) then
        return;
    end if;
    select limits.* into v_full
    from (
        select
            budget.scope, periods.name, periods.until,
            case periods.name when 'day' then budget.daily_usd else budget.monthly_usd end as usd,
            periods.since
        from (
            select * from public.budgets where budgets.scope = 'all'
            union all
            (
                select * from public.budgets where budgets.scope in (p_user_id::text, 'user')
                order by budgets.scope = 'user' -- one of their own comes first
                limit 1
            )
        ) as budget
        cross join lateral (
            select
                each.name,
                begins.at as since,
                (begins.at at time zone 'UTC' + each.length) at time zone 'UTC' as until
            from (values ('day', interval '1 day'), ('month', interval '1 month')) as each (name, length)
            cross join date_trunc(each.name, clock_timestamp(), 'UTC') as begins (at)
        ) as periods
    ) as limits
    where limits.usd is not null
        and picture_edge.spent(limits.since, case when limits.scope <> 'all' then p_user_id end) >= limits.usd
    order by limits.scope = 'all' desc, limits.until desc
    limit 1;
    if not found then
        return;
    end if;
    if v_full.scope = 'all' then
        raise exception using
            errcode = 'PT402',
            message = format(
                'The budget of this %s is spent. No picture is made until %s',
                v_full.name, to_char(v_full.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
            );
    end if;
    raise exception using
        errcode = 'PT429',
        message = format('You may spend %s USD a %s', v_full.usd, v_full.name),
        detail = json_build_object(
            'quota', v_full.usd,
            'retry_after', greatest(1, ceil(extract(epoch from v_full.until - clock_timestamp())))
        );
end;
$$;

comment on function picture_edge.check_budget(uuid) is
'Refuse a request where a budget is spent: that of all (PT402), the user''s (PT429, with quota and retry_after as
check_quota has them).';

create or replace function public.set_budget(
    p_daily_usd numeric default null, p_monthly_usd numeric default null, p_scope text default 'all'
) returns void
language plpgsql
set search_path = ''
as $$
begin
    if least(p_daily_usd, p_monthly_usd) < 0 then
        raise exception using errcode = 'PT400', message = 'A budget must be 0 or more, or null for any amount';
    end if;
    if p_scope is null or p_scope !~ '^(all|user|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' then
        raise exception using errcode = 'PT400', message = 'p_scope must be all, user or a user''s id';
    end if;
    insert into public.budgets (scope, daily_usd, monthly_usd)
    values (p_scope, p_daily_usd, p_monthly_usd)
    on conflict (scope) do update set
        daily_usd = excluded.daily_usd, monthly_usd = excluded.monthly_usd, updated_at = excluded.updated_at;
    perform picture_edge.log_operation('set_budget', jsonb_build_object(
        'scope', p_scope, 'daily_usd', p_daily_usd, 'monthly_usd', p_monthly_usd
    ));
    raise notice '%: USD a day %, a month %', case p_scope
        when 'all' then 'All together' when 'user' then 'Each user without a budget of their own'
        else 'User ' || p_scope end,
        coalesce(p_daily_usd::text, 'any amount'), coalesce(p_monthly_usd::text, 'any amount');
end;
$$;

comment on function public.set_budget(numeric, numeric, text) is
'Set what may be spent in a UTC day and month; null is any amount. p_scope: all (together), user (each user without a
budget of their own), or a user''s id.';

alter table public.budgets enable row level security;
revoke all on public.budgets from public, anon, authenticated;
grant select, insert, update, delete on public.budgets to service_role;
drop policy if exists budgets_select_service on public.budgets;
create policy budgets_select_service on public.budgets for select to service_role using (true);
alter table public.spend_hours enable row level security;
revoke all on public.spend_hours from public, anon, authenticated;
grant select, insert, update, delete on public.spend_hours to service_role;
drop policy if exists spend_hours_select_service on public.spend_hours;
create policy spend_hours_select_service on public.spend_hours for select to service_role using (true);
revoke execute on function picture_edge.keep_spend_hours() from public, anon, authenticated;
grant execute on function picture_edge.keep_spend_hours() to service_role;
revoke execute on function picture_edge.spent(timestamptz, uuid) from public, anon, authenticated;
grant execute on function picture_edge.spent(timestamptz, uuid) to service_role;
revoke execute on function picture_edge.check_budget(uuid) from public, anon, authenticated;
grant execute on function picture_edge.check_budget(uuid) to service_role;
revoke execute on function public.set_budget(numeric, numeric, text) from public, anon, authenticated;
grant execute on function public.set_budget(numeric, numeric, text) to service_role;
