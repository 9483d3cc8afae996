-- image_generations, images: what clients read. check_users_generation: bounds of what users write into the first.
-- No foreign key to auth.users: a valid token is enough, wherever its user is kept.

create table if not exists public.image_generations (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    prompt text not null,
    negative_prompt text,
    model text,
    style text,
    width int,
    height int,
    steps int,
    guidance_scale numeric,
    status text not null default 'pending',
    error_message text,
    generation_time_seconds int,
    replicate_prediction_id text,
    adjustments text[] not null default '{}',
    progress int not null default 0,
    stage text,
    webhook_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    completed_at timestamptz,
    constraint image_generations_status_check check (
        status in ('pending', 'queued', 'processing', 'downloading', 'completed', 'failed', 'cancelled')
    )
);

alter table public.image_generations
add column if not exists adjustments text[] not null default '{}',
add column if not exists progress int not null default 0,
add column if not exists stage text,
add column if not exists webhook_url text;

create index if not exists image_generations_user_idx on public.image_generations (user_id, created_at desc);
-- Keyset pagination of everybody's generations, for operators.
create index if not exists image_generations_created_idx on public.image_generations (created_at desc, id desc);

comment on table public.image_generations is 'One row per requested picture; clients watch its status.';
comment on column public.image_generations.id is 'The generation''s id, which start-generation returns.';
comment on column public.image_generations.user_id is 'The owner; row level security compares it with the caller.';
comment on column public.image_generations.prompt is 'The requested picture in words.';
comment on column public.image_generations.negative_prompt is 'What the picture must not show.';
comment on column public.image_generations.style is 'The requested style.';
comment on column public.image_generations.width is
'Requested pixels, or the model''s default; null where an aspect ratio was requested.';
comment on column public.image_generations.height is
'Requested pixels, or the model''s default; null where an aspect ratio was requested.';
comment on column public.image_generations.steps is 'Requested inference steps, or the model''s default.';
comment on column public.image_generations.guidance_scale is 'Requested guidance, or the model''s default.';
comment on column public.image_generations.created_at is 'When the picture was requested.';
comment on column public.image_generations.updated_at is 'When the row last changed.';
comment on column public.image_generations.completed_at is 'When the picture was stored.';
comment on column public.image_generations.model is 'models.name, else the part of model_id after the slash.';
comment on column public.image_generations.status is
'pending, queued, processing, downloading, completed; failed or cancelled from any of them. Never backwards.';
comment on column public.image_generations.error_message is 'Why the generation failed or was cancelled, for people.';
comment on column public.image_generations.generation_time_seconds is 'Whole seconds the provider took.';
comment on column public.image_generations.replicate_prediction_id is
'The paid prediction''s id. Committed before the wait, so that the next worker adopts it instead of paying again.';
comment on column public.image_generations.progress is
'0 to 100: up to 90 while the provider draws, read from its logs, 95 while the pictures are stored. Monotonic within an
attempt.';
comment on column public.image_generations.stage is
'The current step, finer than status: queued, starting, drawing, storing, then the status itself.';
comment on column public.image_generations.webhook_url is
'Webhook address, called by a send-webhook job once the generation has ended.';
comment on column public.image_generations.adjustments is
'Requested values that the model could not honour, in words: {"size: asked 1920x1080, sent aspect_ratio 16:9"}.';

-- A trigger and no CHECK constraint: a "not valid" CHECK still applies to each update of an old row, so that a worker
-- could not end it. Every column that a user may write is bounded, and with them the row: 96 KiB at most.
create or replace function picture_edge.check_users_generation() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_fault text := case
        when length(new.prompt) > 10000 then 'prompt: must have at most 10000 characters'
        when coalesce(new.prompt, '') !~ '\S' then 'prompt: must not be blank'
        when length(new.negative_prompt) > 10000 then 'negative_prompt: must have at most 10000 characters'
        when length(new.model) > 200 then 'model: must have at most 200 characters'
        when length(new.style) > 200 then 'style: must have at most 200 characters'
        -- WebP's longest side, and more than any model draws.
        when new.width not between 1 and 16384 then 'width: must be 1 to 16384'
        when new.height not between 1 and 16384 then 'height: must be 1 to 16384'
        when new.steps not between 0 and 1000 then 'steps: must be 0 to 1000'
        -- NaN and Infinity sort above all numbers. The scale: a numeric may have 16383 decimal places.
        when new.guidance_scale not between 0 and 100 or scale(new.guidance_scale) > 20
            then 'guidance_scale: must be 0 to 100, with at most 20 decimal places'
    end;
begin
    if v_fault is not null then
        raise exception using
            errcode = 'check_violation', message = v_fault, schema = 'public', table = 'image_generations',
            column = split_part(v_fault, ':', 1);
    end if;
    return new;
end;
$$;

comment on function picture_edge.check_users_generation() is
'Trigger: refuse (23514, the column named) absurd values that a user writes into a generation: sizes, lengths, numbers.
Writers that bypass row level security, as the workers do, are not checked.';
revoke execute on function picture_edge.check_users_generation() from public, anon, authenticated;

create or replace trigger check_users_generation
before insert or update of
prompt, negative_prompt, model, style, width, height, steps, guidance_scale on public.image_generations
for each row
when (row_security_active('public.image_generations'::regclass))
execute function picture_edge.check_users_generation();

create table if not exists public.images (
    id uuid primary key default gen_random_uuid(),
    generation_id uuid references public.image_generations (id) on delete cascade,
    user_id uuid not null,
    filename text not null,
    storage_path text not null,
    public_url text not null,
    file_size int,
    width int,
    height int,
    format text,
    prompt text,
    negative_prompt text,
    model text,
    created_at timestamptz not null default now()
);

-- Not unique: PostgREST would infer a one-to-one relation and embed an object, where clients read images[0]. With the
-- owner in it: row level security adds that condition to an embed, for which images_user_idx would be chosen otherwise.
create index if not exists images_generation_user_idx on public.images (generation_id, user_id);
drop index if exists public.images_generation_idx;
create index if not exists images_user_idx on public.images (user_id, created_at desc);

comment on table public.images is 'One row per stored picture.';
comment on column public.images.id is 'The picture''s id.';
comment on column public.images.generation_id is 'The generation that made the picture.';
comment on column public.images.user_id is 'The owner; row level security compares it with the caller.';
comment on column public.images.public_url is 'The address that clients load the picture from.';
comment on column public.images.width is 'Pixels.';
comment on column public.images.height is 'Pixels.';
comment on column public.images.prompt is 'The generation''s.';
comment on column public.images.negative_prompt is 'The generation''s.';
comment on column public.images.model is 'The generation''s.';
comment on column public.images.created_at is 'When the picture was stored.';
comment on column public.images.filename is
'<generation_id>.<format>, the further pictures <generation_id>-2.<format> …';
comment on column public.images.storage_path is '<user_id>/<filename> in the bucket.';
comment on column public.images.file_size is 'Bytes.';
comment on column public.images.format is 'webp, png, jpeg, gif or svg, detected from the bytes.';
