-- start_generation: a generation and its job, together or not at all, in one round trip.
-- Called by   functions/start_generation as service_role

create or replace function public.start_generation(p_user_id uuid, p_request jsonb)
returns table (generation_id uuid, job_id uuid)
language plpgsql
set search_path = ''
set lock_timeout = '3s' -- a locked queue is an error to its caller, not a connection held for ever
as $$
declare
    v_model public.models;
    v_width int := (p_request ->> 'width')::int;
    v_height int := (p_request ->> 'height')::int;
    v_size jsonb := '{}';
begin
    select * into v_model from public.models where models.replicate_id = p_request ->> 'model_id';
    if not p_request ? 'aspect_ratio' then -- with one, a side that is not given is not known yet
        v_width := coalesce(v_width, v_height);
        v_height := coalesce(v_height, v_width);
        if v_width is not null or (v_model.supports_size and not p_request ? 'source_image_url') then
            v_size := jsonb_build_object(
                'width', coalesce(v_width, v_model.default_width, 1024),
                'height', coalesce(v_height, v_model.default_height, 1024)
            );
        end if;
        v_width := coalesce(v_width, v_model.default_width, 1024);
        v_height := coalesce(v_height, v_model.default_height, 1024);
    end if;

    insert into public.image_generations (
        user_id, prompt, negative_prompt, model, style, width, height, steps, guidance_scale, status
    )
    values (
        p_user_id,
        p_request ->> 'prompt',
        p_request ->> 'negative_prompt',
        coalesce(v_model.name, regexp_replace(p_request ->> 'model_id', '^.*/', '')),
        p_request ->> 'style',
        v_width,
        v_height,
        coalesce((p_request ->> 'num_inference_steps')::int, v_model.default_steps, 30),
        coalesce((p_request ->> 'guidance_scale')::numeric, v_model.default_guidance_scale, 7.5),
        'queued'
    )
    returning image_generations.id into generation_id;

    -- Steps and guidance stay out unless asked for: a model's own defaults make better pictures than ours.
    -- The size does where the model takes none as it is, or a source image is to give it.
    job_id := public.enqueue_job(
        'generate-image',
        p_request || jsonb_build_object('generation_id', generation_id, 'user_id', p_user_id) || v_size,
        p_created_by => p_user_id
    );
    return next;
end;
$$;

comment on function public.start_generation(uuid, jsonb) is
'Insert a queued generation and its generate-image job for a user; p_request is start-generation''s checked body.';

revoke execute on function public.start_generation(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.start_generation(uuid, jsonb) to service_role;
