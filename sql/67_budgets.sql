-- budgets: how much may be spent a day and a month, by each user and by all together. set_budget, check_budgets.
-- expected_usd, awaited_usd: what is asked for, and what waits.
-- keep_spend_hours: sums of hours that are over, so that a month is added up from 744 of them and three hours of the
-- ledger.
-- Called by   operators; start_generations, check_quota: for start-generation and generate-image, before anything is
--             queued or paid; intend_prediction, before a job pays
-- Promises    a request beyond a budget is refused: the user's own with PT429 and when there is money again, that of
--             all with PT402. What is under way counts with its price, what waits with its expected one. A job that
--             finds the budget spent waits, and makes no prediction. Without a budget nothing is summed or locked.
--             What may be exceeded: by the predictions of the same moment, between a job's check and its line in the
--             ledger; by those whose price is not known before their end; generate-image counts from its prediction on

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
    -- Two statements: with one "or" between them a user's would read everybody's month.
    select case when p_user_id is null then kept.usd + coalesce((
        select sum(spend.usd - spend.refunded_usd) from public.spend
        where spend.at >= greatest(p_since, kept.until)
    ), 0)
    else coalesce((
        select sum(spend.usd - spend.refunded_usd) from public.spend
        where spend.user_id = p_user_id and spend.at >= p_since
    ), 0) end
    from kept;
$$;

comment on function picture_edge.spent(timestamptz, uuid) is
'US dollars spent since the begin of an hour, by a user or by all (null), without refunds.';

create or replace function picture_edge.expected_usd(p_requests jsonb[]) returns numeric
language sql
stable
set search_path = ''
as $$
    select coalesce(sum(asked.pictures * picture_edge.price_of(
        coalesce(known.replicate_id, asked.model), clock_timestamp(), 1,
        coalesce(picture_edge.typical_seconds(known.replicate_id), known.typical_seconds::float8)
    )), 0)
    from (
        select
            request ->> 'model_id' as model,
            sum(case when jsonb_typeof(request -> 'num_outputs') = 'number'
                then least(greatest((request ->> 'num_outputs')::numeric, 1), 16) else 1 end) as pictures
        from unnest(p_requests) as request
        group by request ->> 'model_id'
    ) as asked
    left join lateral (
        select models.replicate_id, models.typical_seconds
        from public.models
        where models.replicate_id = asked.model or asked.model = any (models.aliases)
        order by models.replicate_id = asked.model desc
        limit 1
    ) as known on true;
$$;

comment on function picture_edge.expected_usd(jsonb[]) is
'What the pictures of requests (model_id, num_outputs) will cost by today''s prices; 0 for what has no known one.';

create or replace function picture_edge.awaited_usd(p_user_id uuid default null) returns numeric
language sql
stable
set search_path = ''
set jit = off
set enable_seqscan = off -- by the indexes of what waits, of what runs and of a user's jobs, however old the plan is
as $$
    select picture_edge.expected_usd(array_agg(jsonb_build_object(
        'model_id', awaited.payload -> 'model_id', 'num_outputs', awaited.payload -> 'num_outputs'
    )))
    from (
        (
            select job_queue.payload from public.job_queue
            where p_user_id is null and job_queue.status = 'pending' and job_queue.job_type = 'generate-image'
            limit 5000
        )
        union all
        (
            -- A user's by their newest, whatever their turn: scheduled jobs, retries and suspects have no share_rank.
            select mine.payload
            from (
                select job_queue.payload, job_queue.status, job_queue.job_type, job_queue.parked
                from public.job_queue
                where job_queue.created_by = p_user_id
                order by job_queue.created_at desc
                limit 5000
            ) as mine
            where mine.status in ('pending', 'processing') and mine.job_type = 'generate-image' and not mine.parked
        )
        union all
        (
            select job_queue.payload from public.job_queue
            where p_user_id is null and job_queue.status = 'processing' and job_queue.job_type = 'generate-image'
                and not job_queue.parked -- those are in the ledger
            limit 5000
        )
    ) as awaited;
$$;

comment on function picture_edge.awaited_usd(uuid) is
'What the queue''s pictures will cost that no prediction was made for yet: a user''s, of their newest 5,000 jobs; or
all (null), of the first 5,000 that wait and the first 5,000 that run.';

create or replace function picture_edge.spent_budgets(
    p_user_id uuid, p_users_usd numeric default 0, p_all_usd numeric default 0
) returns table (scope text, period text, usd numeric, until timestamptz)
language sql
stable
set search_path = ''
as $$
    select budget.scope, periods.name, periods.usd, periods.until
    from (
        select * from public.budgets where budgets.scope = 'all'
        union all
        (
            select * from public.budgets where budgets.scope in (p_user_id::text, 'user') and p_user_id is not null
            order by budgets.scope = 'user' -- one of their own comes first
            limit 1
        )
    ) as budget
    cross join lateral (
        select
            each.name,
            each.usd,
            begins.at as since,
            (begins.at at time zone 'UTC' + each.length) at time zone 'UTC' as until
        from (values
            ('day', interval '1 day', budget.daily_usd), ('month', interval '1 month', budget.monthly_usd)
        ) as each (name, length, usd)
        cross join date_trunc(each.name, clock_timestamp(), 'UTC') as begins (at)
        where each.usd is not null
    ) as periods
    cross join picture_edge.spent(
        periods.since, case when budget.scope <> 'all' then p_user_id end
    ) as already (usd)
    where already.usd >= periods.usd
        or already.usd + case when budget.scope = 'all' then p_all_usd else p_users_usd end > periods.usd
    order by budget.scope = 'all' desc, periods.until desc;
$$;

comment on function picture_edge.spent_budgets(uuid, numeric, numeric) is
'The budgets, of all and of a user, that are spent, or have no room for so much more; the longest-lasting first.';

create or replace function picture_edge.check_budget(
    p_user_id uuid, p_users_usd numeric default 0, p_all_usd numeric default 0
) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_full record;
begin
    if not exists (select from public.budgets where num_nonnulls(budgets.daily_usd, budgets.monthly_usd) > 0) then
        return;
    end if;
    select * into v_full from picture_edge.spent_budgets(p_user_id, p_users_usd, p_all_usd) limit 1;
    if not found then
        return;
    end if;
    if v_full.scope = 'all' then
        raise exception using
            errcode = 'PT402',
            message = format(
                'The budget of this %s is spent. No picture is made until %s',
                v_full.period, to_char(v_full.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
            );
    end if;
    raise exception using
        errcode = 'PT429',
        message = format('You may spend %s USD a %s', v_full.usd, v_full.period),
        detail = json_build_object(
            'quota', v_full.usd,
            'retry_after', greatest(1, ceil(extract(epoch from v_full.until - clock_timestamp())))
        );
end;
$$;

comment on function picture_edge.check_budget(uuid, numeric, numeric) is
'Refuse what a budget has no room for, beside so much more of the user''s and of all: that of all (PT402), the user''s
(PT429, with quota and retry_after as check_quota has them).';

create or replace function picture_edge.check_budgets(p_user_ids uuid[], p_requests jsonb[] default null) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_of_all boolean;
    v_all_usd numeric := 0;
begin
    select bool_or(budgets.scope = 'all') into v_of_all
    from public.budgets where num_nonnulls(budgets.daily_usd, budgets.monthly_usd) > 0;
    if v_of_all is null then
        return;
    end if;
    -- Advisory locks until the commit: two could both see the last room. Before the locks of check_quota, and in one
    -- order, so that two batches never deadlock.
    perform pg_advisory_xact_lock(hashtextextended('picture_edge_budget ' || held.scope, 0))
    from (
        select distinct case when v_of_all then 'all' else given.user_id::text end as scope
        from unnest(p_user_ids) as given (user_id)
        order by scope
    ) as held;
    if v_of_all then
        v_all_usd := picture_edge.awaited_usd() + picture_edge.expected_usd(p_requests);
    end if;
    perform picture_edge.check_budget(
        asked.user_id, picture_edge.awaited_usd(asked.user_id) + picture_edge.expected_usd(asked.requests), v_all_usd
    )
    from (
        select given.user_id, array_agg(given.request) as requests
        from unnest(p_user_ids, p_requests) as given (user_id, request)
        group by given.user_id
    ) as asked;
end;
$$;

comment on function picture_edge.check_budgets(uuid[], jsonb[]) is
'check_budget for each user of a batch, with what they ask for and what waits in the queue. Holds other requests back
until the transaction ends: those of the users, or where all have a budget, everybody''s.';

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
revoke execute on function picture_edge.expected_usd(jsonb[]) from public, anon, authenticated;
grant execute on function picture_edge.expected_usd(jsonb[]) to service_role;
revoke execute on function picture_edge.awaited_usd(uuid) from public, anon, authenticated;
grant execute on function picture_edge.awaited_usd(uuid) to service_role;
revoke execute on function picture_edge.spent_budgets(uuid, numeric, numeric) from public, anon, authenticated;
grant execute on function picture_edge.spent_budgets(uuid, numeric, numeric) to service_role;
revoke execute on function picture_edge.check_budget(uuid, numeric, numeric) from public, anon, authenticated;
grant execute on function picture_edge.check_budget(uuid, numeric, numeric) to service_role;
revoke execute on function picture_edge.check_budgets(uuid[], jsonb[]) from public, anon, authenticated;
grant execute on function picture_edge.check_budgets(uuid[], jsonb[]) to service_role;
revoke execute on function public.set_budget(numeric, numeric, text) from public, anon, authenticated;
grant execute on function public.set_budget(numeric, numeric, text) to service_role;
