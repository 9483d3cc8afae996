-- user_quotas: how much a user may ask for. idempotency_keys: what has been asked for under a caller's own key.
-- Written by  set_user_quota (sql/29_quotas.sql), start_generations_once (sql/30_start_generation.sql)

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
