-- models: the models that clients may offer, and what the functions know of each beyond the files they ship with.
-- Called by   clients read the table; functions/_shared/image_models reads it, and writes what it fetched from
--             Replicate; operators by hand, or by scripts/models.py

create table if not exists public.models (
    id uuid primary key default gen_random_uuid(),
    replicate_id text not null unique,
    name text not null,
    default_width int,
    default_height int,
    default_steps int,
    default_guidance_scale numeric,
    is_active boolean not null default true,
    created_at timestamptz not null default now()
);

alter table public.models
add column if not exists is_active boolean not null default true,
add column if not exists created_at timestamptz not null default now(),
add column if not exists retired_reason text,
add column if not exists aliases text[] not null default '{}',
add column if not exists aspect_ratios text[] not null default '{}',
add column if not exists output_formats text[] not null default '{}',
add column if not exists max_outputs int not null default 1,
add column if not exists supports_size boolean not null default false,
add column if not exists supports_negative_prompt boolean not null default false,
add column if not exists supports_source_image boolean not null default false,
add column if not exists supports_strength boolean not null default false,
add column if not exists supports_steps boolean not null default false,
add column if not exists supports_guidance boolean not null default false,
add column if not exists supports_seed boolean not null default false,
add column if not exists supports_style boolean not null default false,
add column if not exists price_usd numeric,
add column if not exists typical_seconds numeric,
add column if not exists input_schema jsonb,
add column if not exists version text,
add column if not exists fetched_at timestamptz;

-- An older table may lack the unique index, and hold a model twice; then fetched schemas cannot be stored, and all else
-- works.
do $$
begin
    if not exists (
        select from pg_catalog.pg_index
        inner join pg_catalog.pg_attribute on pg_attribute.attrelid = pg_index.indrelid
        where pg_index.indrelid = 'public.models'::regclass and pg_index.indisunique
            and pg_attribute.attname = 'replicate_id' and pg_index.indkey::text = pg_attribute.attnum::text
    ) then
        create unique index models_replicate_id_idx on public.models (replicate_id);
    end if;
exception when unique_violation then
    raise notice 'public.models holds a replicate_id twice';
end;
$$;

comment on table public.models is
'Models that clients may offer: defaults, what each can do, and where Replicate was asked, its input schema.';
comment on column public.models.id is 'The row''s id.';
comment on column public.models.replicate_id is 'owner/name, as in a request''s model_id.';
comment on column public.models.name is 'For people; image_generations.model.';
comment on column public.models.default_width is 'Pixels, where none are asked for.';
comment on column public.models.default_height is 'Pixels, where none are asked for.';
comment on column public.models.default_steps is
'Inference steps, where none are asked for; null for a model without.';
comment on column public.models.default_guidance_scale is
'Guidance, where none is asked for; null for a model without.';
comment on column public.models.is_active is 'False: not offered, and refused by start-generation.';
comment on column public.models.created_at is 'When the row was added.';
comment on column public.models.retired_reason is
'Why the model is refused; set automatically when Replicate no longer has it, cleared by scripts/models.py refresh.';
comment on column public.models.aliases is 'Other spellings that a request''s model_id may have.';
comment on column public.models.aspect_ratios is
'Supported aspect ratios, such as 16:9; empty where the model takes any size or none.';
comment on column public.models.output_formats is 'Selectable output formats; empty where the model has a fixed one.';
comment on column public.models.max_outputs is 'Maximum number of pictures of one request.';
comment on column public.models.supports_size is
'Whether width and height are taken as they are, within limits.';
comment on column public.models.supports_negative_prompt is 'Whether negative_prompt has an effect.';
comment on column public.models.supports_source_image is 'Whether source_image_url has an effect.';
comment on column public.models.supports_strength is 'Whether strength has an effect, with a source image.';
comment on column public.models.supports_steps is 'Whether num_inference_steps has an effect.';
comment on column public.models.supports_guidance is 'Whether guidance_scale has an effect.';
comment on column public.models.supports_seed is 'Whether seed has an effect.';
comment on column public.models.supports_style is 'Whether style has an effect.';
comment on column public.models.price_usd is
'US dollars a picture by public notes; null where it is priced otherwise.';
comment on column public.models.typical_seconds is
'From request to picture by public notes; null where none are known.';
comment on column public.models.input_schema is
'JSON Schema of the model''s input; takes precedence over the file shipped with the project. Null: the file is used.';
comment on column public.models.version is
'The version hash to send; null for an official model, which is called by name.';
comment on column public.models.fetched_at is 'When Replicate was last asked for input_schema.';
