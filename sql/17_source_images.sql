-- source_images: content-addressed store of source pictures that came inside a request, each once for all its jobs.
-- keep_source_image: stores a picture, and returns the reference that stands in the jobs' payloads instead.
-- Called by   start_generation; functions/start_generation before it, so that the picture is sent once for all prompts
-- Promises    a picture that a job may still need is never purged, also when purge_jobs runs at the same time

create table if not exists public.source_images (
    reference text primary key,
    uri text not null,
    kept_at timestamptz not null default now()
);

comment on table public.source_images is
'Source pictures that came as data: URIs, each once (content-addressed): jobs and predictions refer to them. A picture
is purged when no job needs it.';
comment on column public.source_images.reference is
'data:,sha256- and the digest of uri in hexadecimal; what the payload''s source_image_url and input
hold.';
comment on column public.source_images.uri is 'The data: URI as sent.';
comment on column public.source_images.kept_at is 'When a request last sent the picture.';

create or replace function picture_edge.keep_source_image(p_uri text) returns text
language sql
set search_path = ''
as $$
    insert into public.source_images (reference, uri)
    values ('data:,sha256-' || encode(sha256(convert_to(p_uri, 'UTF8')), 'hex'), p_uri)
    -- "do update", not "do nothing": the row is locked and renewed, so that a concurrent purge rechecks and keeps it.
    on conflict (reference) do update set kept_at = clock_timestamp()
    returning reference;
$$;

comment on function picture_edge.keep_source_image(text) is
'Store a data: URI, once however often it is sent, and return the reference to it.';

alter table public.source_images enable row level security;
revoke all on public.source_images from public, anon, authenticated;
grant select, insert, update, delete on public.source_images to service_role;
drop policy if exists source_images_select_service on public.source_images;
create policy source_images_select_service on public.source_images for select to service_role using (true);
revoke execute on function picture_edge.keep_source_image(text) from public, anon, authenticated;
grant execute on function picture_edge.keep_source_image(text) to service_role;
