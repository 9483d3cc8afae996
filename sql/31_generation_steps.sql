-- The steps of a generation that a worker takes, each one transaction, each refused (PT409) without the lease.
-- Called by   functions/process_jobs as service_role
--             sql/33_predictions.sql has those between the two
-- Promises    the end of a job, the generation's status and the job that follows are one commit; repeating a
--             step whose answer was lost changes nothing

create or replace function public.begin_generate_image(
    p_job_id uuid, p_lease_token bigint, p_generation_id uuid, p_timeout interval
) returns setof public.predictions
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.held_job(p_job_id, p_lease_token);
    v_prediction public.predictions;
    v_paid_id text;
begin
    update public.image_generations
    set status = 'processing', error_message = null, updated_at = clock_timestamp()
    where image_generations.id = p_generation_id
        and image_generations.status in ('pending', 'queued', 'processing')
    returning image_generations.replicate_prediction_id into v_paid_id;
    if not found then
        raise exception using
            errcode = 'PT404', message = format('No generation %s waits for a picture', p_generation_id);
    end if;
    -- One that an earlier version paid for stands in the generation only.
    insert into public.predictions (
        job_id, lease_token, model, input, status, prediction_id, expires_at, next_poll_at
    )
    select
        p_job_id, p_lease_token, v_job.payload ->> 'model_id', '{}', 'running', v_paid_id,
        clock_timestamp() + p_timeout, clock_timestamp()
    where v_paid_id is not null
        and not exists (select from public.predictions where predictions.prediction_id = v_paid_id);

    update public.predictions
    set lease_token = p_lease_token,
        expires_at = clock_timestamp() + p_timeout,
        polls = 0,
        next_poll_at = case when predictions.status = 'running' then clock_timestamp() end
    where predictions.job_id = p_job_id and predictions.status in ('intended', 'running')
    returning * into v_prediction;
    if not found then
        return;
    end if;
    if v_prediction.status = 'running' then -- parked again, as by park_prediction
        update public.job_queue
        set lease_expires_at = v_prediction.expires_at + interval '5 minutes', updated_at = clock_timestamp()
        where job_queue.id = p_job_id and job_queue.status = 'processing';
    end if;
    return next v_prediction;
end;
$$;

comment on function public.begin_generate_image(uuid, bigint, uuid, interval) is
'Mark a generation processing. No row: nothing is paid for yet. A running prediction of an earlier attempt is adopted
and the job parked, for p_timeout from now; an intended one is handed over to be looked for at the provider.';

create or replace function public.store_images(p_generation_id uuid, p_images jsonb) returns setof public.images
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
        clock_timestamp() -- apart from each other, so that their order is told by it
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

comment on function public.store_images(uuid, jsonb) is
'Write the images rows of stored pictures, in the order of the array p_images, and mark their generation completed.';

create or replace function public.finish_download_image(p_job_id uuid, p_lease_token bigint, p_images jsonb)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.held_job(p_job_id, p_lease_token);
    v_images public.images[];
begin
    if v_job.status = 'completed' then
        return (v_job.result ->> 'image_id')::uuid;
    end if;
    v_images := array(
        select stored from public.store_images((v_job.payload ->> 'generation_id')::uuid, p_images) as stored
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
    return v_images[1].id;
end;
$$;

comment on function public.finish_download_image(uuid, bigint, jsonb) is
'Complete a download-image job, write its images rows and mark the generation completed; returns the first''s id.';

revoke execute on function public.begin_generate_image(uuid, bigint, uuid, interval) from public, anon, authenticated;
grant execute on function public.begin_generate_image(uuid, bigint, uuid, interval) to service_role;
revoke execute on function public.store_images(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.store_images(uuid, jsonb) to service_role;
revoke execute on function public.finish_download_image(uuid, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.finish_download_image(uuid, bigint, jsonb) to service_role;
