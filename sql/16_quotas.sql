-- user_quotas: how much a user may ask for. quota_uses: what users have asked for, an append-only ledger.
-- idempotency_keys: requests under a caller's Idempotency-Key.
-- Written by  set_user_quota, spend_quota, triggers of image_generations (sql/30_quotas.sql);
--             start_generations_once (sql/31_start_generation.sql)

create table if not exists public.user_quotas (
    user_id uuid primary key,
    running int,
    hourly int,
    daily int,
    updated_at timestamptz not null default now(),
    constraint user_quotas_positive check (least(running, hourly, daily) >= 0)
);

comment on table public.user_quotas is
'Quotas per user. The row of 00000000-0000-0000-0000-000000000000 is the default for users without a row.';
comment on column public.user_quotas.user_id is 'The user, or the nil uuid for the default.';
comment on column public.user_quotas.running is 'Generations that wait or run at the same time; null: any number.';
comment on column public.user_quotas.hourly is 'Generations begun within an hour; null: any number.';
comment on column public.user_quotas.daily is 'Generations begun within 24 hours; null: any number.';
comment on column public.user_quotas.updated_at is 'When the quota was set.';

-- A ledger apart from image_generations: deleting those gives no quota back, and generate-image may have no row.
create table if not exists public.quota_uses (
    user_id uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    id bigint generated always as identity,
    generation_id uuid,
    source text not null,
    ended_at timestamptz,
    primary key (user_id, created_at, id) -- serves the sliding windows too: one index less to write
);
create index if not exists quota_uses_open_idx on public.quota_uses (user_id, generation_id) where ended_at is null;

comment on table public.quota_uses is
'Append-only ledger: one row per use that the quotas allowed, whatever its outcome. No role but the owner may delete,
and nothing does.';
comment on column public.quota_uses.user_id is 'The user.';
comment on column public.quota_uses.created_at is 'When the use began: the hour and the day count from here.';
comment on column public.quota_uses.id is 'The use''s id, which spend_quota returns.';
comment on column public.quota_uses.generation_id is
'The generation, also after its row is deleted; null for generate-image without a row.';
comment on column public.quota_uses.source is
'The route: queue, generate-image, or p_source of another caller of spend_quota.';
comment on column public.quota_uses.ended_at is
'When the use stopped counting as running; null while it runs, or where its process has died.';

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
'Requests with an Idempotency-Key, for 24 hours: a repetition returns the same ids.';
comment on column public.idempotency_keys.user_id is 'The user; keys are unique per user.';
comment on column public.idempotency_keys.key is 'The key, chosen by the client.';
comment on column public.idempotency_keys.request_hash is 'SHA-256 of the body, in hexadecimal.';
comment on column public.idempotency_keys.generation_ids is 'The generations of the first request''s response.';
comment on column public.idempotency_keys.job_ids is 'The jobs of these generations.';
comment on column public.idempotency_keys.created_at is 'When the key was first used.';
