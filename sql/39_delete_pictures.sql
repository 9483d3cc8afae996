-- delete_generation; triggers that keep images rows and stored objects together when either is deleted.
-- Called by   DELETE start-generation/<id> of an ended generation; clients' from('images').delete(); storage.remove
-- Promises    the file's removal is a job in the deletion's own transaction (transactional outbox): a rollback removes
--             nothing, a crash loses nothing. The ledger of quota_uses is not touched: deleting gives no quota back

create or replace function public.delete_generation(p_generation_id uuid, p_user_id uuid) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_status text;
begin
    delete from public.image_generations
    where image_generations.id = p_generation_id and image_generations.user_id = p_user_id
        and image_generations.status in ('completed', 'failed', 'cancelled');
    if found then
        return;
    end if;
    select status into v_status
    from public.image_generations
    where image_generations.id = p_generation_id and image_generations.user_id = p_user_id;
    if not found then
        raise exception using errcode = 'PT404', message = 'Generation not found';
    end if;
    raise exception using errcode = 'PT409', message = format('The generation is %s: cancel it first', v_status);
end;
$$;
comment on function public.delete_generation(uuid, uuid) is
'Delete a user''s ended generation with its images; their files are removed by a job. Unknown: PT404. It runs: PT409.';
revoke execute on function public.delete_generation(uuid, uuid) from public, anon, authenticated;
grant execute on function public.delete_generation(uuid, uuid) to service_role;

create or replace function edge_private.remove_files_of_images() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform edge_private.refuse_shadows();
    perform public.enqueue_job(
        'cleanup-storage', jsonb_build_object('paths', jsonb_agg(distinct gone.storage_path)), p_max_attempts => 10
    ) from gone having count(*) > 0;
    return null;
end;
$$;
comment on function edge_private.remove_files_of_images() is
'Trigger: queue the removal of the files of deleted images rows (transactional outbox).';
revoke execute on function edge_private.remove_files_of_images() from public, anon, authenticated, service_role;

create or replace trigger remove_files
after delete on public.images referencing old table as gone
for each statement execute function edge_private.remove_files_of_images();

create or replace function edge_private.delete_images_of_objects() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform edge_private.refuse_shadows();
    -- The bucket is a setting of the gateway (STORAGE_BUCKET), which the database does not know: the row's address names
    -- it, percent-encoded.
    delete from public.images using gone
    where images.storage_path = gone.name and images.user_id::text = split_part(gone.name, '/', 1)
        and strpos(
            images.public_url,
            '/object/public/' || (
                select string_agg(
                    case when letter ~ '[A-Za-z0-9_.~-]' then letter else '%' || upper(to_hex(ascii(letter))) end, ''
                    order by place
                )
                from regexp_split_to_table(gone.bucket_id, '') with ordinality as letters (letter, place)
            ) || '/'
        ) > 0;
    return null;
end;
$$;
comment on function edge_private.delete_images_of_objects() is
'Trigger: an images row goes with its stored object, where its owner''s folder is the row''s user.';
revoke execute on function edge_private.delete_images_of_objects() from public, anon, authenticated, service_role;

-- A download-image job that ends without success after attempts that may have stored some of its pictures: those in
-- ``stored``, and what a process that was killed between an upload and its note has left. cleanup-storage keeps what an
-- images row names, and removing what is absent is no error.
create or replace function edge_private.remove_files_of_job() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform edge_private.refuse_shadows();
    if old.status = new.status or new.attempt_number < 1
        -- The ids make a path: an operator's payload may hold anything.
        or (new.payload ->> 'user_id') ~ '^[0-9a-f-]{36}$' is not true
        or (new.payload ->> 'generation_id') ~ '^[0-9a-f-]{36}$' is not true then
        return null;
    end if;
    perform public.enqueue_job(
        'cleanup-storage',
        jsonb_build_object('paths', (
            select jsonb_agg(candidate.path)
            from (
                select stored.image ->> 'storage_path' as path
                from jsonb_each(case when jsonb_typeof(new.payload -> 'stored') = 'object' then new.payload -> 'stored'
                    else '{}' end) as stored (_, image)
                union
                select
                    (new.payload ->> 'user_id') || '/' || (new.payload ->> 'generation_id')
                    || case places.place when 1 then '' else '-' || places.place end || '.' || endings.ending
                from generate_series(1, least(16, greatest(1, case
                    when jsonb_typeof(new.payload -> 'output_urls') = 'array'
                        then jsonb_array_length(new.payload -> 'output_urls')
                end))) as places (place)
                cross join unnest('{webp,png,jpeg,gif,svg}'::text[]) as endings (ending)
            ) as candidate
        )),
        p_max_attempts => 10
    );
    update public.job_queue set payload = job_queue.payload - 'stored'
    where job_queue.id = new.id and job_queue.payload ? 'stored';
    return null;
end;
$$;
comment on function edge_private.remove_files_of_job() is
'Trigger: queue the removal of what a failed or cancelled download-image job has stored, as no images row names it.';
revoke execute on function edge_private.remove_files_of_job() from public, anon, authenticated, service_role;

create or replace trigger remove_files
after update of status on public.job_queue
for each row
when (new.job_type = 'download-image' and new.status in ('failed', 'cancelled')) -- few terms, too
execute function edge_private.remove_files_of_job();

create index if not exists images_storage_path on public.images (storage_path);
comment on index public.images_storage_path is 'delete_images_of_objects finds the row of a removed object.';

-- On a real Supabase storage's tables belong to another role, and its janitor does without.
do $do$
begin
    if obj_description(to_regnamespace('storage'), 'pg_namespace') like 'Stand-in for %' then
        create or replace trigger delete_images
        after delete on storage.objects referencing old table as gone
        for each statement execute function edge_private.delete_images_of_objects();
    end if;
end;
$do$;
