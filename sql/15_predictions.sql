-- predictions: every prediction that a job's attempt means to pay for, from its intent to its end.
-- provider_limits: how soon the provider may be asked for the next one. Written by sql/33_predictions.sql only.

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

-- The provider once said 1e308, and the average of a model's pictures overflowed. What an earlier version of ours let
-- in is unknown from now on; one that still runs beside us is not in the way of the change.
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

-- Renewed at each poll, so with room beside the row.
alter table public.predictions set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index if not exists predictions_job_idx on public.predictions (job_id, created_at desc);
-- One prediction of the provider is one row: two attempts cannot both adopt it.
create unique index if not exists predictions_prediction_id_idx
on public.predictions (prediction_id) where prediction_id is not null;
create index if not exists predictions_poll_idx on public.predictions (next_poll_at) where status = 'running';
create index if not exists predictions_typical_idx
on public.predictions (model, ended_at desc) where status = 'succeeded';

comment on table public.predictions is
'One row an attempt to have the provider make a picture: committed before it is asked, ended when its end is known.';
comment on column public.predictions.id is 'The intent''s id; stands in the address that the provider calls back.';
comment on column public.predictions.job_id is 'The job that pays for it.';
comment on column public.predictions.lease_token is
'The fencing token under which it is made; the attempt that adopts it writes its own.';
comment on column public.predictions.model is 'owner/name.';
comment on column public.predictions.version is 'The version hash that was asked for; null for an official model.';
comment on column public.predictions.input is
'What was sent, a source image by the address that the request gave, or by its digest.';
comment on column public.predictions.input_hash is 'MD5 of input: which rows asked for the same.';
comment on column public.predictions.format is
'webp, png, jpeg or svg: what the input makes the model deliver; null where unknown.';
comment on column public.predictions.callback_secret is
'Stands in the address that the provider calls back, beside the id.';
comment on column public.predictions.status is
'intended (the provider may have been asked), void (it has made nothing), running, succeeded, failed, canceled.';
comment on column public.predictions.prediction_id is 'The provider''s id; null until known.';
comment on column public.predictions.error_message is 'Why there is no picture.';
comment on column public.predictions.error_class is 'Its class, as in job_queue.errors.';
comment on column public.predictions.seconds is
'From the request to the end, as the provider measures it: a day at most; null where it says what cannot be.';
comment on column public.predictions.polls is 'How often it has been asked for.';
comment on column public.predictions.first_poll_seconds is
'The distance to the first poll; each next one is twice as far.';
comment on column public.predictions.next_poll_at is
'When it is asked for next.';
comment on column public.predictions.created_at is 'When the intent was committed.';
comment on column public.predictions.expires_at is 'When its time is up; then it is cancelled.';
comment on column public.predictions.ended_at is 'When its end was recorded.';

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
'How many predictions may be asked for, by what a 429 said and by set_provider_limit: for all workers alike.';
comment on column public.provider_limits.per_minute is 'Predictions a minute; null: no limit of ours.';
comment on column public.provider_limits.in_flight is 'Predictions at the same time; null: no limit of ours.';
comment on column public.provider_limits.tokens is
'Token bucket: predictions that could be asked for at refilled_at.';
comment on column public.provider_limits.refilled_at is 'When tokens was counted.';
comment on column public.provider_limits.provider is 'replicate.';
comment on column public.provider_limits.not_before is 'No prediction is asked for before.';
comment on column public.provider_limits.spacing is 'The least time between two requests for a prediction.';
comment on column public.provider_limits.spaced_until is
'How long spacing is kept; each 429 that names a rate renews it.';
