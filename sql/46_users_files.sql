-- Users' own files in the functions' buckets: policies on storage.objects.
-- picture_buckets: where the functions store pictures (STORAGE_BUCKET). Written by the gateway at its start.
-- Promises    a bucket once used stays: its pictures are still their users' after STORAGE_BUCKET has changed

create table if not exists picture_edge.picture_buckets (
    name text primary key,
    added_at timestamptz not null default now()
);
comment on table picture_edge.picture_buckets is 'Buckets of Storage that hold, or held, generated pictures.';
comment on column picture_edge.picture_buckets.name is 'The bucket''s id.';
comment on column picture_edge.picture_buckets.added_at is 'When a gateway first named it.';
revoke all on picture_edge.picture_buckets from public, anon, authenticated;
grant select, insert on picture_edge.picture_buckets to service_role;
insert into picture_edge.picture_buckets (name) values ('generated-images') on conflict do nothing;

create or replace function picture_edge.add_picture_bucket(p_name text) returns void
language sql
set search_path = ''
as $$
    insert into picture_edge.picture_buckets (name) values (p_name) on conflict do nothing;
$$;
comment on function picture_edge.add_picture_bucket(text) is 'Tell the policies of STORAGE_BUCKET; idempotent.';
revoke execute on function picture_edge.add_picture_bucket(text) from public, anon, authenticated;
grant execute on function picture_edge.add_picture_bucket(text) to service_role;

-- Security definer: a policy's subquery runs with the caller's rights, and users have none in picture_edge.
create or replace function edge_private.picture_buckets() returns setof text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$ select picture_buckets.name from picture_edge.picture_buckets $$;
comment on function edge_private.picture_buckets() is 'The names in picture_edge.picture_buckets, for policies.';
revoke execute on function edge_private.picture_buckets() from public, anon, service_role;
grant execute on function edge_private.picture_buckets() to authenticated;

-- Users' own files: <user id>/… in either bucket. A project's own policies stay: permissive policies add up.
do $do$
begin
    if to_regclass('storage.objects') is null or not pg_catalog.pg_has_role(
        (select pg_class.relowner from pg_catalog.pg_class where pg_class.oid = to_regclass('storage.objects')), 'usage'
    ) then
        return;
    end if;
    drop policy if exists picture_edge_select_own on storage.objects;
    create policy picture_edge_select_own on storage.objects for select to authenticated using (
        bucket_id in (select edge_private.picture_buckets() union all select 'source-images')
        and (storage.foldername(name))[1] = (select auth.uid())::text
    );
    drop policy if exists picture_edge_delete_own on storage.objects;
    create policy picture_edge_delete_own on storage.objects for delete to authenticated using (
        bucket_id in (select edge_private.picture_buckets() union all select 'source-images')
        and (storage.foldername(name))[1] = (select auth.uid())::text
    );
    drop policy if exists picture_edge_insert_own_source on storage.objects;
    create policy picture_edge_insert_own_source on storage.objects for insert to authenticated with check (
        bucket_id = 'source-images' and (storage.foldername(name))[1] = (select auth.uid())::text
    );
    drop policy if exists picture_edge_update_own_source on storage.objects;
    create policy picture_edge_update_own_source on storage.objects for update to authenticated
    using (bucket_id = 'source-images' and (storage.foldername(name))[1] = (select auth.uid())::text)
    with check (bucket_id = 'source-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
end;
$do$;
