-- enqueue_own_job: a signed-in user's own generate-image job. follow_own_cancel: what comes with cancelling one by a
-- plain UPDATE. The original's app does both with the user's token.
-- Called by   public.enqueue_job, for a caller who is subject to row level security; the trigger
-- Promises    the user's own job of one type, validated, within the quota and in turn with the other users'; no row of
--             another user is read, written or disclosed
--
-- These two, and the triggers of 39_delete_pictures.sql, are the only functions with their owner's rights (security
-- definer, confused-deputy rules apply). With the
-- caller's rights a user would need to insert into job_queue and write its share_rank, to read what others have waiting
-- (for the turn) and the quotas, to set a generation queued, to write predictions and to queue a webhook: each of them
-- a right that could be used without the function as well. So the rights stay with the owner, and these do one checked
-- thing each:
--   · neither takes a user: it is auth.uid(), or the row's created_by, which a policy has held against auth.uid();
--   · the schema is not among those that PostgREST serves, and only signed-in users have usage; the second is a trigger
--     function, which cannot be called;
--   · search_path = pg_catalog, pg_temp: an empty one would look for types in the caller's temporary schema first;
--   · the functions that they call and the triggers that they fire have an empty one, and run with the owner's rights
--     here: so a session whose temporary objects shadow a name of pg_catalog is refused.

create schema if not exists edge_private;
comment on schema edge_private is
'Security definer functions: owner''s rights for a signed-in user. Not to be served by PostgREST.';
revoke all on schema edge_private from public, anon, authenticated, service_role;
grant usage on schema edge_private to authenticated;

create or replace function edge_private.refuse_shadows() returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_my_temp_schema() <> 0 and exists (
        select from pg_catalog.pg_type as mine
        inner join pg_catalog.pg_type as theirs on theirs.typname = mine.typname -- a relation is a type as well
        where mine.typnamespace = pg_my_temp_schema() and theirs.typnamespace = 'pg_catalog'::regnamespace
    ) then
        raise exception using
            errcode = 'PT403', message = 'A temporary object of this session has the name of one of PostgreSQL''s own';
    end if;
end;
$$;

comment on function edge_private.refuse_shadows() is
'Refuse (PT403) a session with temporary objects that shadow a name of pg_catalog (search_path injection).';

create or replace function edge_private.enqueue_own_job(
    p_job_type text, p_payload jsonb, p_max_attempts int, p_scheduled_at timestamptz
) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s' -- fail fast, as start_generation
as $$
declare
    v_user_id uuid;
    v_generation_id uuid;
    v_generation public.image_generations;
    v_request jsonb;
    v_job_id uuid;
    v_max_attempts int := least(greatest(coalesce(p_max_attempts, 3), 1), 3);
    -- Clock skew: a client's clock may be a minute fast. A past time counts as now, and overtakes no older job.
    v_later boolean := coalesce(p_scheduled_at > clock_timestamp() + interval '1 minute', false);
begin
    perform edge_private.refuse_shadows();
    v_user_id := auth.uid();
    if v_user_id is null then
        raise exception using errcode = 'PT401', message = 'Sign in to queue a job';
    end if;
    if p_job_type is distinct from 'generate-image' then
        raise exception using errcode = 'PT403', message = 'Users may queue generate-image jobs only';
    end if;
    if pg_column_size(p_payload) > 1024 * 1024 then -- the limit of start-generation's body
        raise exception using errcode = 'PT413', message = 'p_payload is larger than 1024 KiB';
    end if;
    if coalesce(jsonb_typeof(p_payload -> 'prompt') <> 'string' or btrim(p_payload ->> 'prompt') = '', true) then
        raise exception using errcode = 'PT400', message = 'Prompt is required';
    end if;
    if coalesce(jsonb_typeof(p_payload -> 'model_id') <> 'string' or btrim(p_payload ->> 'model_id') = '', true) then
        raise exception using errcode = 'PT400', message = 'Model ID is required';
    end if;
    if length(p_payload ->> 'prompt') > 10000 or length(p_payload ->> 'negative_prompt') > 10000
        or length(p_payload ->> 'model_id') > 200 or length(p_payload ->> 'style') > 200 then
        raise exception using
            errcode = 'PT400',
            message = 'prompt and negative_prompt may have 10000 characters, model_id and style 200';
    end if;
    -- The bounds of check_users_generation, which is bypassed with the owner's rights. NaN and Infinity sort above all
    -- numbers.
    if (p_payload ->> 'width')::numeric not between 1 and 16384
        or (p_payload ->> 'height')::numeric not between 1 and 16384
        or (p_payload ->> 'num_inference_steps')::numeric not between 0 and 1000
        or (p_payload ->> 'guidance_scale')::numeric not between 0 and 100
        or scale((p_payload ->> 'guidance_scale')::numeric) > 20 then
        raise exception using
            errcode = 'PT400',
            message = 'width and height must be 1 to 16384, num_inference_steps 0 to 1000, guidance_scale 0 to 100';
    end if;
    if p_payload ->> 'webhook_url' is not null then
        raise exception using errcode = 'PT400', message = 'webhook_url is for start-generation only';
    end if;
    if lower(p_payload ->> 'user_id') <> v_user_id::text then
        raise exception using errcode = 'PT403', message = 'The payload''s user_id is somebody else''s';
    end if;
    if p_payload ->> 'generation_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        raise exception using errcode = 'PT400', message = 'The payload''s generation_id must be a uuid';
    end if;
    if v_later and p_scheduled_at > clock_timestamp() + interval '30 days' then
        raise exception using errcode = 'PT400', message = 'p_scheduled_at may be 30 days ahead';
    end if;
    -- A delayed job takes no turn once it is due: a user with many of them would overtake all others.
    if v_later and 10 <= (
        select count(*)
        from public.job_queue
        where job_queue.created_by = v_user_id and job_queue.status = 'pending' and job_queue.attempt_number = 0
            and job_queue.scheduled_at > clock_timestamp()
    ) then
        raise exception using errcode = 'PT429', message = 'You may have 10 jobs that wait for their time';
    end if;

    v_generation_id := p_payload ->> 'generation_id';
    v_request := p_payload - '{generation_id, user_id, webhook_url}'::text[];
    if v_generation_id is null then
        v_job_id := (select started.job_id from picture_edge.start_generation(v_user_id, v_request) as started);
        update public.job_queue
        set max_attempts = v_max_attempts,
            scheduled_at = case when v_later then p_scheduled_at else job_queue.scheduled_at end,
            share_rank = case when v_later then 0 else job_queue.share_rank end
        where job_queue.id = v_job_id and (v_later or v_max_attempts < job_queue.max_attempts);
        return v_job_id;
    end if;

    -- The row that the client has inserted, as for generate-image. Locked: two concurrent calls would both pay for it.
    select * into v_generation
    from public.image_generations
    where image_generations.id = v_generation_id and image_generations.user_id = v_user_id
    for update;
    if not found then
        raise exception using errcode = 'PT404', message = 'Generation not found';
    end if;
    select job_queue.id into v_job_id
    from public.job_queue
    where job_queue.created_by = v_user_id
        and job_queue.created_at >= coalesce(v_generation.created_at, '-infinity') -- null in some original rows
        and job_queue.status in ('pending', 'processing') and job_queue.job_type = 'generate-image'
        and job_queue.payload ->> 'generation_id' = v_generation_id::text
    limit 1;
    if found then
        return v_job_id; -- idempotent: this generation has a job
    end if;
    if v_generation.status not in ('pending', 'queued') then
        raise exception using
            errcode = 'PT409', message = format('The generation is %s already', v_generation.status);
    end if;
    perform picture_edge.check_quota(v_user_id, v_generation_id);
    if v_request ->> 'source_image_url' like 'data:image/%' then -- as in start_generation
        v_request := v_request
            || jsonb_build_object('source_image_url', picture_edge.keep_source_image(v_request ->> 'source_image_url'));
    end if;
    update public.image_generations set status = 'queued', updated_at = clock_timestamp()
    where image_generations.id = v_generation_id and image_generations.status = 'pending';
    return public.enqueue_job(
        'generate-image',
        v_request || jsonb_build_object('generation_id', v_generation_id, 'user_id', v_user_id),
        p_max_attempts => v_max_attempts,
        p_scheduled_at => case when v_later then p_scheduled_at end,
        p_created_by => v_user_id
    );
end;
$$;

comment on function edge_private.enqueue_own_job(text, jsonb, int, timestamptz) is
'Queue the signed-in user''s generate-image job, with the generation that the payload names (their own, not begun) or a
new one, and return its id. At priority 0 and with three attempts at most, no earlier than now. Refused: no user PT401,
another type or user PT403, a bad payload PT400, too large a one PT413, the quota PT429.';

create or replace function edge_private.follow_own_cancel() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform edge_private.refuse_shadows();
    if old.status = new.status then
        return null;
    end if;
    update public.image_generations
    set status = 'cancelled', error_message = new.error_message, updated_at = clock_timestamp()
    where image_generations.id = case
            when new.payload ->> 'generation_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then (new.payload ->> 'generation_id')::uuid
        end
        and image_generations.user_id = new.created_by
        and image_generations.status not in ('completed', 'failed', 'cancelled');
    update public.predictions set next_poll_at = clock_timestamp()
    where predictions.job_id = new.id and predictions.status = 'running';
    return null;
end;
$$;

comment on function edge_private.follow_own_cancel() is
'Trigger: what move_generation_with_job does for other writers, when a user cancels their own job.';

create or replace trigger follow_own_cancel
after update of status on public.job_queue
for each row
when (new.status = 'cancelled' and row_security_active('public.job_queue')) -- few terms: sql/37_generation_status.sql
execute function edge_private.follow_own_cancel();

revoke execute on function edge_private.refuse_shadows() from public, anon, authenticated, service_role;
revoke execute on function edge_private.enqueue_own_job(text, jsonb, int, timestamptz)
from public, anon, service_role;
grant execute on function edge_private.enqueue_own_job(text, jsonb, int, timestamptz) to authenticated;
revoke execute on function edge_private.follow_own_cancel() from public, anon, authenticated, service_role;
