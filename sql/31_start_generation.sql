-- start_generation, start_generations: a generation and its job, in one transaction; many in one round trip.
-- start_generations_once: the same, idempotent, for each of a user's idempotency keys.
-- cancel_generation: the way back.
-- Called by   functions/start_generation as service_role; operators
-- Promises    row and job are committed together or not at all; a batch is atomic, and answered in its order

create or replace function picture_edge.start_generations(p_user_ids uuid[], p_requests jsonb[])
returns table (generation_id uuid, job_id uuid)
language plpgsql
set search_path = ''
set lock_timeout = '3s' -- fail fast: a locked queue is an error to its caller, not a connection held for ever
set jit = off
set plan_cache_mode = force_generic_plan -- planned once a session: planning takes longer than the statement itself
set enable_seqscan = off -- models by their index, however few there are
as $$
declare
    v_ids uuid[] := array(select gen_random_uuid() from generate_series(1, cardinality(p_user_ids)));
    v_payloads jsonb[];
    v_job_ids uuid[];
begin
    perform picture_edge.check_budgets(p_user_ids, p_requests);
    perform picture_edge.check_quotas(p_user_ids, v_ids); -- the ledger's rows are written by a trigger of the insert
    with asked as materialized (
        select
            given.id,
            given.user_id,
            given.request,
            given.place,
            model.name,
            -- With a ratio, a side that is not given is not known yet.
            case when given.request ? 'aspect_ratio' then (given.request ->> 'width')::int
                else coalesce(
                    (given.request ->> 'width')::int, (given.request ->> 'height')::int, model.default_width, 1024
                )
            end as width,
            case when given.request ? 'aspect_ratio' then (given.request ->> 'height')::int
                else coalesce(
                    (given.request ->> 'height')::int, (given.request ->> 'width')::int, model.default_height, 1024
                )
            end as height,
            not given.request ? 'aspect_ratio' and (
                (given.request ->> 'width') is not null or (given.request ->> 'height') is not null
                or (model.supports_size and not given.request ?| '{source_image_url,input}')
            ) as is_sized,
            coalesce((given.request ->> 'num_inference_steps')::int, model.default_steps, 30) as steps,
            coalesce((given.request ->> 'guidance_scale')::numeric, model.default_guidance_scale, 7.5) as guidance_scale
        from unnest(v_ids, p_user_ids, p_requests) with ordinality as given (id, user_id, request, place)
        left join public.models as model on model.replicate_id = given.request ->> 'model_id'
    ),
    begun as (
        insert into public.image_generations (
            id, user_id, prompt, negative_prompt, model, style, width, height, steps, guidance_scale, webhook_url,
            status, stage
        )
        select
            asked.id,
            asked.user_id,
            asked.request ->> 'prompt',
            asked.request ->> 'negative_prompt',
            coalesce(asked.name, regexp_replace(asked.request ->> 'model_id', '^.*/', '')),
            asked.request ->> 'style',
            asked.width,
            asked.height,
            asked.steps,
            asked.guidance_scale,
            asked.request ->> 'webhook_url',
            'queued',
            'queued'
        from asked
    )
    -- The payload has steps and guidance only if they were asked for: a model's own defaults make better pictures. It
    -- has no size where the model takes none as it is, or where the source image or the model's own input gives it.
    select array_agg(
        asked.request - 'webhook_url'
        || jsonb_build_object('generation_id', asked.id, 'user_id', asked.user_id)
        || case when asked.is_sized then jsonb_build_object('width', asked.width, 'height', asked.height) else '{}' end
        || case
            when asked.request ->> 'source_image_url' like 'data:image/%' -- not from the gateway, which sends a reference
                then jsonb_build_object(
                    'source_image_url', picture_edge.keep_source_image(asked.request ->> 'source_image_url')
                )
            else '{}'
        end
        order by asked.place
    ) into v_payloads
    from asked;
    if cardinality(v_ids) = 1 then -- the plan for many costs a single start a tenth of its time
        v_job_ids := array[
            public.enqueue_job('generate-image', v_payloads[1], p_created_by => p_user_ids[1])
        ];
    else
        v_job_ids := picture_edge.insert_jobs(
            array_fill('generate-image'::text, array[cardinality(v_ids)]), v_payloads, null, null, null, null,
            p_user_ids
        );
    end if;
    return query select * from unnest(v_ids, v_job_ids);
end;
$$;

comment on function picture_edge.start_generations(uuid[], jsonb[]) is
'Insert a queued generation and its generate-image job for each user and request, all or none; returns the ids in their
order. A request is start-generation''s validated body. A source picture inside the body is stored once, and the job''s
payload refers to it.';

create or replace function picture_edge.start_generation(p_user_id uuid, p_request jsonb)
returns table (generation_id uuid, job_id uuid)
language sql
set search_path = ''
as $$
    select * from picture_edge.start_generations(array[p_user_id], array[p_request]);
$$;

comment on function picture_edge.start_generation(uuid, jsonb) is 'start_generations for one.';

create or replace function picture_edge.start_generations_once(
    p_user_id uuid, p_key text, p_request_hash text, p_requests jsonb[]
) returns table (generation_id uuid, job_id uuid)
language plpgsql
set search_path = ''
set lock_timeout = '3s'
as $$
declare
    v_known public.idempotency_keys;
begin
    loop
        -- The unique index makes a concurrent request with the same key wait here for the first one's commit.
        insert into public.idempotency_keys (user_id, key, request_hash)
        values (p_user_id, p_key, p_request_hash)
        on conflict (user_id, key) do nothing;
        if found then
            select array_agg(started.generation_id), array_agg(started.job_id)
            into v_known.generation_ids, v_known.job_ids
            from picture_edge.start_generations(
                array_fill(p_user_id, array[cardinality(p_requests)]), p_requests
            ) as started;
            update public.idempotency_keys
            set generation_ids = v_known.generation_ids, job_ids = v_known.job_ids
            where idempotency_keys.user_id = p_user_id and idempotency_keys.key = p_key;
            exit;
        end if;
        delete from public.idempotency_keys
        where idempotency_keys.user_id = p_user_id and idempotency_keys.key = p_key
            and idempotency_keys.created_at < clock_timestamp() - interval '24 hours';
        if not found then
            select * into v_known
            from public.idempotency_keys
            where idempotency_keys.user_id = p_user_id and idempotency_keys.key = p_key;
            exit when found;
        end if; -- else the key was purged between the two statements: insert again
    end loop;
    if v_known.request_hash <> p_request_hash then
        raise exception using
            errcode = 'PT422', message = 'This Idempotency-Key came with another body before';
    end if;
    return query select * from unnest(v_known.generation_ids, v_known.job_ids);
end;
$$;

comment on function picture_edge.start_generations_once(uuid, text, text, jsonb[]) is
'Idempotent start_generations for one user: within 24 hours the same request under the same key returns the same ids.
Another request under the same key: PT422.';

create or replace function public.cancel_generation(
    p_generation_id uuid, p_user_id uuid default null, p_reason text default 'Cancelled'
) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_generation public.image_generations;
    v_job_id uuid;
begin
    loop
        select * into v_generation
        from public.image_generations
        where image_generations.id = p_generation_id
            and (p_user_id is null or image_generations.user_id = p_user_id);
        if not found then
            raise exception using errcode = 'PT404', message = 'Generation not found';
        end if;
        if v_generation.status = 'cancelled' then
            perform picture_edge.begin_operation('');
            return;
        end if;
        if v_generation.status in ('completed', 'failed') then
            raise exception using
                errcode = 'PT409', message = format('The generation is %s already', v_generation.status);
        end if;
        select job_queue.id into v_job_id
        from public.job_queue
        where job_queue.created_by = v_generation.user_id
            and job_queue.created_at >= v_generation.created_at
            and job_queue.status in ('pending', 'processing')
            and job_queue.job_type in ('generate-image', 'download-image')
            and job_queue.payload ->> 'generation_id' = p_generation_id::text
        limit 1;
        if found then
            perform picture_edge.begin_operation('cancel_generation');
            exit when public.cancel_job(v_job_id, p_reason); -- its trigger cancels the generation
        else -- no job: not queued, or generate-image makes it, whose last write is refused then
            update public.image_generations
            set status = 'cancelled', error_message = p_reason, updated_at = clock_timestamp()
            where image_generations.id = p_generation_id
                and image_generations.status = v_generation.status;
            exit when found;
        end if; -- else its status moved between the two statements: read it again
    end loop;
    perform picture_edge.log_operation(
        'cancel_generation', jsonb_build_object('id', p_generation_id, 'user_id', p_user_id, 'reason', p_reason),
        (v_job_id is not null)::int
    );
end;
$$;

comment on function public.cancel_generation(uuid, uuid, text) is
'Cancel a generation, with its job and its running prediction; idempotent. p_user_id: the owner it must have (null:
any). Unknown: PT404. Completed or failed: PT409.';

revoke execute on function picture_edge.start_generations(uuid[], jsonb[]) from public, anon, authenticated;
grant execute on function picture_edge.start_generations(uuid[], jsonb[]) to service_role;
revoke execute on function picture_edge.start_generations_once(uuid, text, text, jsonb[]) from public, anon,
authenticated; grant execute on function picture_edge.start_generations_once(uuid, text, text, jsonb[]) to service_role;
revoke execute on function public.cancel_generation(uuid, uuid, text) from public, anon, authenticated;
grant execute on function public.cancel_generation(uuid, uuid, text) to service_role;
revoke execute on function picture_edge.start_generation(uuid, jsonb) from public, anon, authenticated;
grant execute on function picture_edge.start_generation(uuid, jsonb) to service_role;
