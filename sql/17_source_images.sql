-- source_images: source pictures that came inside a request, each once, however many jobs are to use it.
-- keep_source_image: puts one there, and gives the reference that stands in the jobs' payloads instead.
-- Called by   start_generation; functions/start_generation before it, so that the picture is sent once for all prompts
-- Promises    a picture that a job may still need is never purged (purge_jobs), however the two meet

create table if not exists public.source_images (
    reference text primary key,
    uri text not null,
    kept_at timestamptz not null default now()
);

comment on table public.source_images is
'Source pictures that came as data: URIs, each once: jobs and predictions refer to it. Purged when no job needs it.';
comment on column public.source_images.reference is
'data:,sha256- and the digest of uri in hexadecimal; stands in the payload''s source_image_url.';
comment on column public.source_images.uri is 'The data: URI as it was sent.';
comment on column public.source_images.kept_at is 'When a request last brought it.';

create or replace function public.keep_source_image(p_uri text) returns text
language sql
set search_path = ''
as $$
    insert into public.source_images (reference, uri)
    values ('data:,sha256-' || encode(sha256(convert_to(p_uri, 'UTF8')), 'hex'), p_uri)
    -- Locked and renewed, not left alone: a purge that goes on at the same time sees that it is needed again.
    on conflict (reference) do update set kept_at = clock_timestamp()
    returning reference;
$$;

comment on function public.keep_source_image(text) is
'Keep a data: URI, once however often it is brought, and return the reference to it.';

alter table public.source_images enable row level security;
revoke all on public.source_images from public, anon, authenticated;
grant select, insert, update, delete on public.source_images to service_role;
drop policy if exists source_images_select_service on public.source_images;
create policy source_images_select_service on public.source_images for select to service_role using (true);
revoke execute on function public.keep_source_image(text) from public, anon, authenticated;
grant execute on function public.keep_source_image(text) to service_role;
