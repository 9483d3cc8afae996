-- user_quotas: how much a user may ask for. quota_uses: what they have asked for, a ledger.
-- idempotency_keys: what has been asked for under a caller's own key.
-- Written by  set_user_quota, spend_quota, triggers of image_generations (sql/29_quotas.sql);
--             start_generations_once (sql/30_start_generation.sql)

create table if not exists public.user_quotas (
    user_id uuid primary key,
    running int,
    hourly int,
    daily int,
    updated_at timestamptz not null default now(),
    constraint user_quotas_positive check (least(running, hourly, daily) >= 0)
);

comment on table public.user_quotas is
'How much a user may ask for. The row of 00000000-0000-0000-0000-000000000000 is for all who have none of their own.';
comment on column public.user_quotas.user_id is 'The user, or the nil uuid for everybody else.';
comment on column public.user_quotas.running is 'Generations that wait or run at the same time; null: any number.';
comment on column public.user_quotas.hourly is 'Generations begun within an hour; null: any number.';
comment on column public.user_quotas.daily is 'Generations begun within 24 hours; null: any number.';
comment on column public.user_quotas.updated_at is 'When it was set.';

-- A ledger beside image_generations: deleting those gives no quota back, and generate-image may have none to count.
create table if not exists public.quota_uses (
    user_id uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    id bigint generated always as identity,
    generation_id uuid,
    source text not null,
    ended_at timestamptz,
    primary key (user_id, created_at, id) -- what the hour and the day are counted by: one index less to write
);
create index if not exists quota_uses_open_idx on public.quota_uses (user_id, generation_id) where ended_at is null;

comment on table public.quota_uses is
'One row a time that a user was let through to have pictures made, whatever came of it. Only added to: no role but the
owner may delete, and nothing does.';
comment on column public.quota_uses.user_id is 'Who asked.';
comment on column public.quota_uses.created_at is 'When it was begun: the hour and the day count from here.';
comment on column public.quota_uses.id is 'What spend_quota returns.';
comment on column public.quota_uses.generation_id is
'What it was for, also when that row is deleted; null for generate-image without one.';
comment on column public.quota_uses.source is
'Who makes it: queue, generate-image, or what another caller of spend_quota named.';
comment on column public.quota_uses.ended_at is
'When it stopped counting as running; null while it runs, or where the process that ran it has died.';

create table if not exists public.idempotency_keys (
    user_id uuid not null,
    key text not null,
    request_hash text not null,
    generation_ids uuid[] not null default '{}',
    job_ids uuid[] not null default '{}',
    created_at timestamptz not null default now(),
    primary key (user_id, key)
);
create index if not exists idempotency_keys_created_idx on public.idempotency_keys (created_at);

comment on table public.idempotency_keys is
'Requests that came with an Idempotency-Key, for 24 hours: the same again gets the same ids.';
comment on column public.idempotency_keys.user_id is 'Whose key it is.';
comment on column public.idempotency_keys.key is 'As the client chose it.';
comment on column public.idempotency_keys.request_hash is 'SHA-256 of the body, in hexadecimal.';
comment on column public.idempotency_keys.generation_ids is 'What was answered.';
comment on column public.idempotency_keys.job_ids is 'The jobs of these.';
comment on column public.idempotency_keys.created_at is 'When it came first.';
