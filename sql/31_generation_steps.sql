-- The steps of a generation that a worker takes, each one transaction, each refused (PT409) without the lease.
-- Called by   functions/process_jobs as service_role
-- Promises    the end of a job, the generation's status and the job that follows are one commit; repeating a
--             step whose answer was lost changes nothing

create or replace function public.begin_generation(p_job_id uuid, p_lease_token bigint, p_generation_id uuid)
returns text
language plpgsql
set search_path = ''
as $$
declare
    v_prediction_id text;
begin
    perform public.held_job(p_job_id, p_lease_token);
    update public.image_generations
    set status = 'processing', error_message = null, updated_at = clock_timestamp()
    where image_generations.id = p_generation_id
        and image_generations.status in ('pending', 'queued', 'processing')
    returning image_generations.replicate_prediction_id into v_prediction_id;
    if not found then
        raise exception using
            errcode = 'PT404', message = format('No generation %s waits for a picture', p_generation_id);
    end if;
    return v_prediction_id;
end;
$$;

comment on function public.begin_generation(uuid, bigint, uuid) is
'Mark a generation processing; returns the prediction an earlier attempt has already paid for, or null.';

create or replace function public.record_prediction(
    p_job_id uuid, p_lease_token bigint, p_generation_id uuid, p_prediction_id text
) returns void
language plpgsql
set search_path = ''
as $$
begin
    perform public.held_job(p_job_id, p_lease_token);
    update public.image_generations
    set replicate_prediction_id = p_prediction_id, updated_at = clock_timestamp()
    where image_generations.id = p_generation_id;
end;
$$;

comment on function public.record_prediction(uuid, bigint, uuid, text) is
'Keep the id of the prediction being paid for, or null once it has ended without a picture.';

create or replace function public.finish_generate_image(
    p_job_id uuid,
    p_lease_token bigint,
    p_output_url text,
    p_format text,
    p_width int,
    p_height int,
    p_seconds int
) returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.held_job(p_job_id, p_lease_token);
    v_download_job_id uuid;
begin
    if v_job.status = 'completed' then
        return (v_job.result ->> 'download_job_id')::uuid;
    end if;
    v_download_job_id := public.enqueue_job(
        'download-image',
        jsonb_build_object(
            'generation_id', v_job.payload -> 'generation_id',
            'user_id', v_job.payload -> 'user_id',
            'output_url', p_output_url,
            'format', p_format,
            'width', p_width,
            'height', p_height,
            'prompt', v_job.payload -> 'prompt',
            'negative_prompt', v_job.payload -> 'negative_prompt',
            'model_id', v_job.payload -> 'model_id'
        ),
        p_priority => 1,
        p_created_by => v_job.created_by
    );
    update public.image_generations
    set status = 'downloading', generation_time_seconds = p_seconds, updated_at = clock_timestamp()
    where image_generations.id = (v_job.payload ->> 'generation_id')::uuid
        and image_generations.status = 'processing';
    perform public.complete_job(
        p_job_id,
        jsonb_build_object('output_url', p_output_url, 'format', p_format, 'download_job_id', v_download_job_id),
        p_lease_token => p_lease_token
    );
    return v_download_job_id;
end;
$$;

comment on function public.finish_generate_image(uuid, bigint, text, text, int, int, int) is
'Complete a generate-image job, queue its download-image job and mark the generation downloading.';

create or replace function public.store_image(p_generation_id uuid, p_image jsonb) returns public.images
language plpgsql
set search_path = ''
as $$
declare
    v_image public.images;
begin
    update public.image_generations
    set status = 'completed', error_message = null, completed_at = clock_timestamp(), updated_at = clock_timestamp()
    where image_generations.id = p_generation_id
        and image_generations.status in ('pending', 'queued', 'processing', 'downloading');
    if not found then
        raise exception using
            errcode = 'PT404', message = format('No generation %s waits for a picture', p_generation_id);
    end if;
    insert into public.images (
        generation_id, user_id, filename, storage_path, public_url, file_size, width, height, format,
        prompt, negative_prompt, model
    )
    select
        p_generation_id, image.user_id, image.filename, image.storage_path, image.public_url, image.file_size,
        image.width, image.height, image.format, generation.prompt, generation.negative_prompt, generation.model
    from jsonb_populate_record(null::public.images, p_image) as image
    inner join public.image_generations as generation on generation.id = p_generation_id
    returning * into v_image;
    return v_image;
end;
$$;

comment on function public.store_image(uuid, jsonb) is
'Write the images row of a stored picture and mark its generation completed. p_image has the row''s own fields.';

create or replace function public.finish_download_image(p_job_id uuid, p_lease_token bigint, p_image jsonb)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.held_job(p_job_id, p_lease_token);
    v_image public.images;
begin
    if v_job.status = 'completed' then
        return (v_job.result ->> 'image_id')::uuid;
    end if;
    v_image := public.store_image((v_job.payload ->> 'generation_id')::uuid, p_image);
    perform public.complete_job(
        p_job_id,
        jsonb_build_object(
            'image_id', v_image.id, 'public_url', v_image.public_url, 'storage_path', v_image.storage_path
        ),
        p_lease_token => p_lease_token
    );
    return v_image.id;
end;
$$;

comment on function public.finish_download_image(uuid, bigint, jsonb) is
'Complete a download-image job, write its images row and mark the generation completed.';

revoke execute on function public.begin_generation(uuid, bigint, uuid) from public, anon, authenticated;
grant execute on function public.begin_generation(uuid, bigint, uuid) to service_role;
revoke execute on function public.record_prediction(uuid, bigint, uuid, text) from public,
anon,
authenticated;
grant execute on function public.record_prediction(uuid, bigint, uuid, text) to service_role;
revoke execute on function public.finish_generate_image(uuid, bigint, text, text, int, int, int)
from public, anon, authenticated;
grant execute on function public.finish_generate_image(
    uuid, bigint, text, text, int, int, int
) to service_role;
revoke execute on function public.store_image(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.store_image(uuid, jsonb) to service_role;
revoke execute on function public.finish_download_image(uuid, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.finish_download_image(uuid, bigint, jsonb) to service_role;
