-- The schema storage where there is no Supabase: buckets and objects in Supabase Storage's own shapes.
-- Used by     /storage/v1, under the caller's role: row level security decides who reads and writes which object
-- Promises    a real Supabase's schema is untouched: ours is known by its comment. Columns, types, defaults and
--             uniqueness are upstream's: moving in or out is a copy of rows

do $do$
begin
    if exists (select 1 from pg_catalog.pg_namespace where nspname = 'storage')
        and coalesce(obj_description(to_regnamespace('storage'), 'pg_namespace'), '') not like 'Stand-in for %' then
        return;
    end if;

    create schema if not exists storage;
    comment on schema storage is 'Stand-in for Supabase Storage''s schema: buckets, and the objects in them.';
    grant usage on schema storage to anon, authenticated, service_role;

    if to_regtype('storage.buckettype') is null then
        create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');
    end if;

    create table if not exists storage.buckets (
        id text not null constraint buckets_pkey primary key,
        name text not null,
        owner uuid,
        created_at timestamptz default now(),
        updated_at timestamptz default now(),
        public boolean default false,
        avif_autodetection boolean default false,
        file_size_limit bigint,
        allowed_mime_types text[],
        owner_id text,
        type storage.buckettype not null default 'STANDARD'
    );
    create unique index if not exists bname on storage.buckets (name);
    comment on table storage.buckets is 'Containers of objects, each with its limits.';
    comment on column storage.buckets.id is 'The name in addresses.';
    comment on column storage.buckets.name is 'The same as id.';
    comment on column storage.buckets.owner is 'Deprecated: owner_id.';
    comment on column storage.buckets.created_at is 'When the bucket was made.';
    comment on column storage.buckets.updated_at is 'When the bucket''s settings last changed.';
    comment on column storage.buckets.public is 'Whether /object/public serves the objects to anybody.';
    comment on column storage.buckets.avif_autodetection is 'Unused, as upstream.';
    comment on column storage.buckets.file_size_limit is 'The largest object in bytes; null: the service''s own limit.';
    comment on column storage.buckets.allowed_mime_types is 'Accepted content types, image/* included; null: any.';
    comment on column storage.buckets.owner_id is 'sub of the token that made the bucket.';
    comment on column storage.buckets.type is 'STANDARD: the only kind that is served here.';

    create table if not exists storage.objects (
        id uuid not null default gen_random_uuid() constraint objects_pkey primary key,
        bucket_id text constraint "objects_bucketId_fkey" references storage.buckets (id),
        name text,
        owner uuid,
        created_at timestamptz default now(),
        updated_at timestamptz default now(),
        last_accessed_at timestamptz default now(),
        metadata jsonb,
        path_tokens text[] generated always as (string_to_array(name, '/')) stored,
        version text,
        owner_id text,
        user_metadata jsonb
    );
    create unique index if not exists bucketid_objname on storage.objects (bucket_id, name);
    create index if not exists name_prefix_search on storage.objects (name text_pattern_ops);
    create index if not exists idx_objects_bucket_id_name on storage.objects (bucket_id, name collate "C");
    comment on index storage.idx_objects_bucket_id_name is 'Listings: one probe per folder or object.';
    create index if not exists objects_version on storage.objects (version);
    comment on index storage.objects_version is 'The janitor looks for the row of a file. Not upstream''s.';
    comment on table storage.objects is 'One row per object; its bytes are the file that version names.';
    comment on column storage.objects.id is 'The object''s id, kept when it is replaced or moved.';
    comment on column storage.objects.bucket_id is 'The bucket.';
    comment on column storage.objects.name is 'The key: segments divided by slashes.';
    comment on column storage.objects.owner is 'Deprecated: owner_id.';
    comment on column storage.objects.created_at is 'When the object was made.';
    comment on column storage.objects.updated_at is 'When the object last changed.';
    comment on column storage.objects.last_accessed_at is 'Not kept up to date, as upstream.';
    comment on column storage.objects.metadata is 'eTag, size, mimetype, cacheControl, lastModified, contentLength.';
    comment on column storage.objects.path_tokens is 'The segments of name.';
    comment on column storage.objects.version is 'UUID of the bytes; new with each upload.';
    comment on column storage.objects.owner_id is 'sub of the token that uploaded the object.';
    comment on column storage.objects.user_metadata is 'Metadata that the client gave with the upload.';

    create or replace function storage.foldername(name text) returns text[] language sql immutable
    set search_path = ''
    as $$
        select (string_to_array(name, '/'))[1 : cardinality(string_to_array(name, '/')) - 1]
    $$;
    comment on function storage.foldername(text) is 'The folders of a key, outermost first; empty at the root.';

    create or replace function storage.filename(name text) returns text language sql immutable
    set search_path = ''
    as $$ select (string_to_array(name, '/'))[cardinality(string_to_array(name, '/'))] $$;
    comment on function storage.filename(text) is 'The last segment of a key.';

    create or replace function storage.extension(name text) returns text language sql immutable
    set search_path = ''
    as $$ select reverse(split_part(reverse(storage.filename(name)), '.', 1)) $$;
    comment on function storage.extension(text) is 'What follows the last dot of a key''s last segment.';
    grant execute on function storage.foldername(text), storage.filename(text), storage.extension(text)
    to anon, authenticated, service_role;

    alter table storage.buckets enable row level security;
    alter table storage.objects enable row level security;
    -- As upstream grants: row level security alone decides.
    grant select, insert, update, delete on storage.buckets, storage.objects to anon, authenticated, service_role;
end;
$do$;

-- Buckets of the functions. On a real Supabase too: bucket rows and policies are an app's own to make.
do $do$
begin
    if to_regclass('storage.objects') is null or not pg_catalog.has_table_privilege('storage.buckets', 'insert') then
        return;
    end if;
    insert into storage.buckets (id, name, public, allowed_mime_types)
    values
    ('generated-images', 'generated-images', true, null),
    ('source-images', 'source-images', false, '{image/*}')
    on conflict do nothing;
end;
$do$;
