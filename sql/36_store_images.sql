-- store_images, finish_download_image: the last step of a generation, the rows of its stored pictures. Partial success:
-- keep_stored_images, add_adjustments, has_unwanted_files.
-- Called by   functions/process_jobs and functions/generate_image_legacy as service_role
-- Promises    images rows, the generation's end and the job's are one transaction; finish_download_image is idempotent,
--             and refused (PT409) without the lease. A completed job holds no picture: data URIs leave its payload

create or replace function picture_edge.store_images(p_generation_id uuid, p_images jsonb) returns setof public.images
language plpgsql
set search_path = ''
as $$
begin
    update public.image_generations
    set status = 'completed', error_message = null, completed_at = clock_timestamp(), updated_at = clock_timestamp()
    where image_generations.id = p_generation_id
        and image_generations.status in ('pending', 'queued', 'processing', 'downloading');
    if not found then
        raise exception using
            errcode = 'PT404', message = format('No generation %s waits for a picture', p_generation_id);
    end if;
    return query
    insert into public.images (
        generation_id, user_id, filename, storage_path, public_url, file_size, width, height, format,
        prompt, negative_prompt, model, created_at
    )
    select
        p_generation_id, image.user_id, image.filename, image.storage_path, image.public_url, image.file_size,
        image.width, image.height, image.format, generation.prompt, generation.negative_prompt, generation.model,
        clock_timestamp() -- distinct per row: clients order images by created_at
    from (
        select (jsonb_populate_record(null::public.images, given.image)).*, given.place
        from jsonb_array_elements(p_images) with ordinality as given (image, place)
        order by given.place
    ) as image
    inner join public.image_generations as generation on generation.id = p_generation_id
    order by image.place
    returning images.*;
end;
$$;

comment on function picture_edge.store_images(uuid, jsonb) is
'Write the images rows of stored pictures, in the order of the array p_images, and mark their generation completed.';

create or replace function picture_edge.finish_download_image(p_job_id uuid, p_lease_token bigint, p_images jsonb)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := picture_edge.held_job(p_job_id, p_lease_token);
    v_images public.images[];
begin
    if v_job.status = 'completed' then
        return (v_job.result ->> 'image_id')::uuid;
    end if;
    v_images := array(
        select stored from picture_edge.store_images((v_job.payload ->> 'generation_id')::uuid, p_images) as stored
    );
    perform public.complete_job(
        p_job_id,
        jsonb_build_object(
            'image_id', v_images[1].id, 'public_url', v_images[1].public_url,
            'storage_path', v_images[1].storage_path,
            'image_ids', (select jsonb_agg(image.id) from unnest(v_images) as image)
        ),
        p_lease_token => p_lease_token
    );
    if v_job.payload ? 'stored' or v_job.payload ->> 'output_urls' like '%"data:%' then
        update public.job_queue set payload = job_queue.payload - '{stored, output_urls}'::text[]
        where job_queue.id = p_job_id;
    end if;
    return v_images[1].id;
end;
$$;

comment on function picture_edge.finish_download_image(uuid, bigint, jsonb) is
'Complete a download-image job, write its images rows and mark the generation completed; returns the first image''s
id.';

create or replace function picture_edge.keep_stored_images(p_job_id uuid, p_lease_token bigint, p_images jsonb)
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform picture_edge.held_job(p_job_id, p_lease_token, '{processing}');
    update public.job_queue set payload = job_queue.payload || jsonb_build_object('stored', p_images)
    where job_queue.id = p_job_id;
end;
$$;

comment on function picture_edge.keep_stored_images(uuid, bigint, jsonb) is
'Keep in a download-image job what an attempt has stored, by place in the output: the next attempt stores the others
only.';

create or replace function picture_edge.add_adjustments(p_generation_id uuid, p_adjustments text[]) returns void
language sql
set search_path = ''
as $$
    update public.image_generations
    set adjustments = image_generations.adjustments || array(
            select added.adjustment from unnest(p_adjustments) with ordinality as added (adjustment, place)
            where added.adjustment <> all (image_generations.adjustments)
            order by added.place
        ),
        updated_at = clock_timestamp()
    where image_generations.id = p_generation_id;
$$;

comment on function picture_edge.add_adjustments(uuid, text[]) is
'Add to a generation''s adjustments what is not among them yet (idempotent).';

create or replace function picture_edge.has_unwanted_files(p_job_id uuid) returns boolean
language sql
stable
set search_path = ''
as $$
    select coalesce((
        select (job_queue.status in ('failed', 'cancelled')
            or coalesce(generation.status in ('failed', 'cancelled'), true))
            and not exists (select from public.images where images.generation_id = generation.id)
        from public.job_queue
        left join public.image_generations as generation
            on generation.id::text = lower(job_queue.payload ->> 'generation_id')
        where job_queue.id = p_job_id
    ), true);
$$;

comment on function picture_edge.has_unwanted_files(uuid) is
'Whether the uploads of a download-image job will have no images row: it, or its generation, is cancelled, failed or
deleted.';

revoke execute on function picture_edge.keep_stored_images(uuid, bigint, jsonb) from public, anon, authenticated;
grant execute on function picture_edge.keep_stored_images(uuid, bigint, jsonb) to service_role;
revoke execute on function picture_edge.add_adjustments(uuid, text[]) from public, anon, authenticated;
grant execute on function picture_edge.add_adjustments(uuid, text[]) to service_role;
revoke execute on function picture_edge.has_unwanted_files(uuid) from public, anon, authenticated;
grant execute on function picture_edge.has_unwanted_files(uuid) to service_role;
revoke execute on function picture_edge.store_images(uuid, jsonb) from public, anon, authenticated;
grant execute on function picture_edge.store_images(uuid, jsonb) to service_role;
revoke execute on function picture_edge.finish_download_image(uuid, bigint, jsonb) from public, anon, authenticated;
grant execute on function picture_edge.finish_download_image(uuid, bigint, jsonb) to service_role;
