-- spend: what was paid for, a row for each prediction that the provider has made. model_prices: what a model costs.
-- begin_spend, end_spend: the two writes of a row. spend_by_day, spend_by_model, spend_by_user: what it came to.
-- Called by   a trigger of predictions, for the queue; functions/process_generation/spending.py, for generate-image and
--             process-generation
-- Promises    a prediction is one row, from the moment its id is known, in the same transaction; deleting pictures,
--             generations, jobs or users removes none; a price is that of its day, whatever it becomes later; where the
--             price is not known it is null, and never 0

create table if not exists public.model_prices (
    model text not null,
    valid_from date not null,
    usd_per_picture numeric,
    usd_per_second numeric,
    primary key (model, valid_from),
    constraint model_prices_positive check (least(usd_per_picture, usd_per_second) >= 0)
);

comment on table public.model_prices is
'Dated price table: what the provider charges for a model. The newest row of the day counts. Add rows, change none.';
comment on column public.model_prices.model is 'owner/name.';
comment on column public.model_prices.valid_from is 'The first day of the price, in UTC.';
comment on column public.model_prices.usd_per_picture is 'US dollars a picture; null: not priced so.';
comment on column public.model_prices.usd_per_second is
'US dollars a second of the provider''s time; null: not priced so.';

-- The catalogue's prices, public notes of October 2026 (sql/14_models_seed.sql). A row that is there stays as it is.
insert into public.model_prices (model, valid_from, usd_per_picture)
select
    replicate_id as model,
    date '2026-10-01' as valid_from,
    max(price_usd) as usd_per_picture
from public.models
where price_usd >= 0
group by replicate_id
on conflict (model, valid_from) do nothing;

create table if not exists public.spend (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    provider text not null,
    prediction_id text not null,
    model text not null,
    source text not null,
    user_id uuid,
    generation_id uuid,
    job_id uuid,
    pictures int not null,
    status text not null default 'running',
    seconds float8,
    usd numeric,
    refunded_usd numeric not null default 0,
    ended_at timestamptz,
    constraint spend_status_check check (status in ('running', 'succeeded', 'failed', 'canceled')),
    constraint spend_prediction_key unique (prediction_id, provider)
);
alter table public.spend set (fillfactor = 80); -- HOT update: the end of a prediction changes no indexed column
create index if not exists spend_at_idx on public.spend (at);
create index if not exists spend_user_idx on public.spend (user_id, at) where user_id is not null;

comment on table public.spend is
'Ledger of what was paid for: a row for each prediction that the provider has made. No role but the owner may delete,
and nothing does.';
comment on column public.spend.id is 'Counts up; newer is greater.';
comment on column public.spend.at is 'When the provider''s prediction was known.';
comment on column public.spend.provider is 'Who is paid: replicate.';
comment on column public.spend.prediction_id is 'The provider''s id of it.';
comment on column public.spend.model is 'owner/name.';
comment on column public.spend.source is 'Which way it was asked for: queue, generate-image or process-generation.';
comment on column public.spend.user_id is 'For whom; null where nobody was named.';
comment on column public.spend.generation_id is 'The generation, also after its row is deleted; null without one.';
comment on column public.spend.job_id is 'The job; null without one.';
comment on column public.spend.pictures is 'How many pictures were asked for.';
comment on column public.spend.status is
'running, succeeded, failed or canceled; running for ever where the process of a blocking call has died.';
comment on column public.spend.seconds is 'From the request to the end; null until then.';
comment on column public.spend.usd is
'US dollars by model_prices of that day; null where no price is known. What the provider bills may differ.';
comment on column public.spend.refunded_usd is 'What of usd is not charged, as nothing was made.';
comment on column public.spend.ended_at is 'When its end was known.';

create or replace function picture_edge.price_of(p_model text, p_at timestamptz, p_pictures int, p_seconds float8)
returns numeric
language sql
stable
set search_path = ''
as $$
    select coalesce(
        prices.usd_per_picture * p_pictures, round(prices.usd_per_second * p_seconds::numeric, 6)
    )
    from public.model_prices as prices
    where prices.model = p_model and prices.valid_from <= (p_at at time zone 'UTC')::date
    order by prices.valid_from desc
    limit 1;
$$;

comment on function picture_edge.price_of(text, timestamptz, int, float8) is
'What a prediction costs in US dollars by the prices of its day; null where none is known, or its seconds are not yet.';

create or replace function picture_edge.begin_spend(
    p_prediction_id text,
    p_model text,
    p_source text,
    p_input jsonb,
    p_user_id uuid,
    p_generation_id uuid,
    p_job_id uuid default null,
    p_provider text default 'replicate'
) returns void
language sql
set search_path = ''
as $$
    insert into public.spend (
        provider, prediction_id, model, source, user_id, generation_id, job_id, pictures, usd
    )
    select
        p_provider, p_prediction_id, p_model, p_source,
        coalesce(p_user_id, (
            select image_generations.user_id from public.image_generations
            where image_generations.id = p_generation_id
        )),
        p_generation_id, p_job_id, asked.pictures,
        picture_edge.price_of(p_model, clock_timestamp(), asked.pictures, null)
    from (
        select coalesce(max(given.number::int), 1) as pictures
        from unnest(array[p_input ->> 'num_outputs', p_input ->> 'number_of_images', p_input ->> 'max_images'])
            as given (number)
        where given.number ~ '^[1-9][0-9]?$'
    ) as asked
    on conflict (prediction_id, provider) do nothing;
$$;

comment on function picture_edge.begin_spend(text, text, text, jsonb, uuid, uuid, uuid, text) is
'Write the row of a prediction into the ledger; one that is there stays as it is. p_input says how many pictures.';

create or replace function picture_edge.end_spend(
    p_prediction_id text, p_status text, p_seconds float8, p_provider text default 'replicate'
) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_spend public.spend;
begin
    select * into v_spend from public.spend
    where spend.prediction_id = p_prediction_id and spend.provider = p_provider and spend.status = 'running'
    for update;
    v_spend.usd := coalesce(
        v_spend.usd, picture_edge.price_of(v_spend.model, v_spend.at, v_spend.pictures, p_seconds)
    );
    update public.spend
    set status = p_status,
        seconds = p_seconds,
        usd = v_spend.usd,
        refunded_usd = case when p_status = 'succeeded' then 0 else coalesce(v_spend.usd, 0) end,
        ended_at = clock_timestamp()
    where spend.id = v_spend.id;
    if p_status <> 'succeeded' and v_spend.at < clock_timestamp() - interval '2 hours' then
        update public.spend_hours set usd = spend_hours.usd - coalesce(v_spend.usd, 0) -- added up already
        where spend_hours.hour = date_trunc('hour', v_spend.at, 'UTC');
    end if;
end;
$$;

comment on function picture_edge.end_spend(text, text, float8, text) is
'Write the end of a prediction into the ledger, once: succeeded, or failed or canceled, which is refunded.';

create or replace function picture_edge.count_prediction() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if new.status = 'running' then
        perform picture_edge.begin_spend(
            new.prediction_id, new.model, 'queue', new.input, job_queue.created_by,
            case when (job_queue.payload ->> 'generation_id') ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then (job_queue.payload ->> 'generation_id')::uuid end,
            job_queue.id
        )
        from public.job_queue where job_queue.id = new.job_id;
    else
        perform picture_edge.end_spend(
            new.prediction_id, new.status,
            coalesce(new.seconds, extract(epoch from new.ended_at - new.created_at)::float8)
        );
    end if;
    return null;
end;
$$;

comment on function picture_edge.count_prediction() is
'Trigger: a prediction that the provider has made is a row of the ledger, and its end as well.';

do $$
begin
    if exists (
        select from pg_catalog.pg_trigger
        where tgrelid = 'public.predictions'::regclass and tgname = 'count_prediction'
    ) then
        return;
    end if;
    -- Backfill, once, before the trigger exists: what is known of the time before, and what runs at this moment.
    lock table public.predictions in share row exclusive mode;
    insert into public.spend (
        at, prediction_id, provider, model, source, user_id, generation_id, job_id, pictures, status, seconds, usd,
        refunded_usd, ended_at
    )
    select
        old.created_at, old.prediction_id, 'replicate', old.model, 'queue', job_queue.created_by, null, old.job_id, 1,
        old.status, old.seconds, price.usd,
        case when old.status in ('failed', 'canceled') then coalesce(price.usd, 0) else 0 end, old.ended_at
    from public.predictions as old
    left join public.job_queue on job_queue.id = old.job_id
    cross join picture_edge.price_of(old.model, old.created_at, 1, old.seconds) as price (usd)
    where old.prediction_id is not null and old.status in ('running', 'succeeded', 'failed', 'canceled')
    on conflict (prediction_id, provider) do nothing;
end;
$$;

create or replace trigger count_prediction
after insert or update of status on public.predictions
for each row
when (new.prediction_id is not null and new.status in ('running', 'succeeded', 'failed', 'canceled'))
execute function picture_edge.count_prediction();

create or replace view public.spend_by_day with (security_invoker = true) as
select
    (at at time zone 'UTC')::date as day,
    count(*) as predictions,
    count(*) filter (where status = 'succeeded') as succeeded,
    sum(usd - refunded_usd) as usd,
    sum(refunded_usd) as refunded_usd,
    count(*) filter (where usd is null) as unpriced,
    sum(seconds) as seconds
from public.spend
where at > now() - interval '90 days'
group by (at at time zone 'UTC')::date
order by (at at time zone 'UTC')::date desc;

create or replace view public.spend_by_model with (security_invoker = true) as
select
    model,
    count(*) as predictions,
    count(*) filter (where status = 'succeeded') as succeeded,
    sum(usd - refunded_usd) as usd,
    sum(refunded_usd) as refunded_usd,
    count(*) filter (where usd is null) as unpriced,
    sum(seconds) as seconds
from public.spend
where at > now() - interval '30 days'
group by model
order by sum(usd - refunded_usd) desc nulls last;

create or replace view public.spend_by_user with (security_invoker = true) as
select
    user_id,
    count(*) as predictions,
    count(*) filter (where status = 'succeeded') as succeeded,
    sum(usd - refunded_usd) as usd,
    sum(usd - refunded_usd) filter (where at >= date_trunc('day', now(), 'UTC')) as usd_today,
    sum(refunded_usd) as refunded_usd,
    count(*) filter (where usd is null) as unpriced,
    sum(seconds) as seconds
from public.spend
where at > now() - interval '30 days'
group by user_id
order by sum(usd - refunded_usd) desc nulls last;

comment on view public.spend_by_day is 'Spend of each UTC day, for 90 days.';
comment on view public.spend_by_model is 'Spend by model, for 30 days, the dearest first.';
comment on view public.spend_by_user is 'Spend by user, for 30 days, the dearest first; null is nobody named.';
comment on column public.spend_by_day.day is 'The day, in UTC.';
comment on column public.spend_by_model.model is 'owner/name.';
comment on column public.spend_by_user.user_id is 'The user.';
comment on column public.spend_by_user.usd_today is 'Of it, what this UTC day came to.';
do $$
declare
    v_column record;
begin
    for v_column in
        select views.name as view, described.name, described.it
        from unnest('{spend_by_day, spend_by_model, spend_by_user}'::text[]) as views (name)
        cross join (values
            ('predictions', 'Predictions that the provider has made.'),
            ('succeeded', 'Those with a picture.'),
            ('usd', 'US dollars, without what is refunded and what has no known price.'),
            ('refunded_usd', 'What nothing was made for.'),
            ('unpriced', 'Predictions of a model without a known price: they are missing from usd.'),
            ('seconds', 'The provider''s time.')
        ) as described (name, it)
    loop
        execute format('comment on column public.%I.%I is %L', v_column.view, v_column.name, v_column.it);
    end loop;
end;
$$;

alter table public.model_prices enable row level security;
revoke all on public.model_prices from public, anon, authenticated;
grant select, insert, update, delete on public.model_prices to service_role;
drop policy if exists model_prices_select_service on public.model_prices;
create policy model_prices_select_service on public.model_prices for select to service_role using (true);
-- Append-only, but for the end of a row.
alter table public.spend enable row level security;
revoke all on public.spend from public, anon, authenticated, service_role;
revoke all on sequence public.spend_id_seq from public, anon, authenticated, service_role;
grant select, insert, update (status, seconds, usd, refunded_usd, ended_at) on public.spend to service_role;
drop policy if exists spend_select_service on public.spend;
create policy spend_select_service on public.spend for select to service_role using (true);
revoke all on public.spend_by_day, public.spend_by_model, public.spend_by_user from public, anon, authenticated;
grant select on public.spend_by_day, public.spend_by_model, public.spend_by_user to service_role;
revoke execute on function picture_edge.price_of(text, timestamptz, int, float8) from public, anon, authenticated;
grant execute on function picture_edge.price_of(text, timestamptz, int, float8) to service_role;
revoke execute on function picture_edge.begin_spend(text, text, text, jsonb, uuid, uuid, uuid, text)
from public, anon, authenticated;
grant execute on function picture_edge.begin_spend(
    text, text, text, jsonb, uuid, uuid, uuid, text
) to service_role;
revoke execute on function picture_edge.end_spend(text, text, float8, text) from public, anon, authenticated;
grant execute on function picture_edge.end_spend(text, text, float8, text) to service_role;
revoke execute on function picture_edge.count_prediction() from public, anon, authenticated;
