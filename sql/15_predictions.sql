-- predictions: every prediction that a job's attempt means to pay for, from its write-ahead intent to its end.
-- provider_limits: rate and concurrency limits of each provider.
-- Written by  sql/32 to sql/35; provider_limits by sql/23_provider_limits.sql

create table if not exists public.predictions (
    id uuid primary key default gen_random_uuid(),
    job_id uuid not null, -- no foreign key: operators may truncate job_queue
    lease_token bigint not null,
    model text not null,
    version text,
    input jsonb not null,
    input_hash text generated always as (md5(input::text)) stored,
    format text,
    callback_secret text not null default replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
    status text not null default 'intended',
    prediction_id text,
    error_message text,
    error_class text,
    seconds float8,
    pictures int,
    polls int not null default 0,
    first_poll_seconds float8 not null default 1,
    next_poll_at timestamptz,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    constraint predictions_status_check check (
        status in ('intended', 'void', 'running', 'succeeded', 'failed', 'canceled')
    ),
    constraint predictions_seconds_check check (seconds between 0 and 86400)
);

alter table public.predictions add column if not exists pictures int;

-- The provider once reported 1e308 seconds, and a model's average overflowed. Absurd values of an earlier sql/ become
-- null; "not valid", so that the change needs no scan under its lock.
do $$
begin
    if not exists (
        select from pg_catalog.pg_constraint
        where conrelid = 'public.predictions'::regclass and conname = 'predictions_seconds_check'
    ) then
        update public.predictions set seconds = null where seconds not between 0 and 86400;
        alter table public.predictions
        add constraint predictions_seconds_check check (seconds between 0 and 86400) not valid;
    end if;
end;
$$;

-- HOT updates: each poll writes its row again, and finds room on the page.
alter table public.predictions set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index if not exists predictions_job_idx on public.predictions (job_id, created_at desc);
-- Unique: one prediction of the provider is one row, so that two attempts cannot both adopt it.
create unique index if not exists predictions_prediction_id_idx
on public.predictions (prediction_id) where prediction_id is not null;
create index if not exists predictions_poll_idx on public.predictions (next_poll_at) where status = 'running';
create index if not exists predictions_typical_idx
on public.predictions (model, ended_at desc) where status = 'succeeded';

comment on table public.predictions is
'One row per intended prediction: committed before the provider is asked (write-ahead intent), ended with its terminal
status.';
comment on column public.predictions.id is 'The intent''s id; part of the webhook address that the provider calls.';
comment on column public.predictions.job_id is 'The job that pays for the prediction.';
comment on column public.predictions.lease_token is
'The fencing token of the attempt that owns the prediction; an adopting attempt writes its own.';
comment on column public.predictions.model is 'owner/name.';
comment on column public.predictions.version is 'The requested version hash; null for an official model.';
comment on column public.predictions.input is
'The input as sent, a source image by the address that the request gave, or by its digest.';
comment on column public.predictions.input_hash is 'MD5 of input, to find rows with the same input.';
comment on column public.predictions.format is
'webp, png, jpeg or svg: the output format that the input selects; null where unknown.';
comment on column public.predictions.callback_secret is
'Secret part of the webhook address, beside the id.';
comment on column public.predictions.status is
'intended (outcome unknown: the provider may have been asked), void (no prediction was made), running, succeeded,
failed, canceled.';
comment on column public.predictions.prediction_id is 'The provider''s id of the prediction; null until known.';
comment on column public.predictions.error_message is 'Why there is no picture.';
comment on column public.predictions.error_class is 'The error''s class, as in job_queue.errors.';
comment on column public.predictions.seconds is
'From the request to the end, as the provider measures it: a day at most; null for impossible values.';
comment on column public.predictions.pictures is 'How many pictures it has made; null until its success.';
comment on column public.predictions.polls is 'Polls so far.';
comment on column public.predictions.first_poll_seconds is
'Distance to the first poll; exponential from there, each next poll is twice as far.';
comment on column public.predictions.next_poll_at is
'When the next poll is due.';
comment on column public.predictions.created_at is 'When the intent was committed.';
comment on column public.predictions.expires_at is 'The deadline; then the prediction is cancelled.';
comment on column public.predictions.ended_at is 'When the terminal status was written.';

create table if not exists public.provider_limits (
    provider text primary key,
    not_before timestamptz not null,
    spacing interval not null default '0',
    spaced_until timestamptz not null default '-infinity',
    per_minute float8,
    in_flight int,
    tokens float8 not null default 1,
    refilled_at timestamptz not null default now()
);
alter table public.provider_limits
add column if not exists per_minute float8,
add column if not exists in_flight int,
add column if not exists tokens float8 not null default 1,
add column if not exists refilled_at timestamptz not null default now();

comment on table public.provider_limits is
'Rate and concurrency limits of a provider, from its 429 responses and from set_provider_limit: for all workers.';
comment on column public.provider_limits.per_minute is 'Rate limit, predictions a minute; null: none of ours.';
comment on column public.provider_limits.in_flight is
'Concurrency limit, predictions at the same time; null: none of ours.';
comment on column public.provider_limits.tokens is
'Token bucket: predictions that could be created at refilled_at.';
comment on column public.provider_limits.refilled_at is 'When the bucket was last refilled.';
comment on column public.provider_limits.provider is 'The provider''s name: replicate. job_types refers to it.';
comment on column public.provider_limits.not_before is 'Retry-After of a 429: no prediction is created before.';
comment on column public.provider_limits.spacing is 'Minimum time between two creates of a prediction.';
comment on column public.provider_limits.spaced_until is
'Until when spacing applies; each 429 that names a rate renews it.';
