-- The steps of a paid prediction, each one transaction, each refused (PT409) without the lease it was begun under.
-- Called by   functions/process_generation as service_role: the job's worker, the poller, the provider's webhook
-- Promises    the intent is committed before the provider is asked; a prediction belongs to one row; a job whose
--             prediction runs is parked: nobody works on it, and its end is written once, by whoever learns it first
-- Locks       the job, then its prediction, then its generation: always in this order

create or replace function public.intend_prediction(
    p_job_id uuid,
    p_lease_token bigint,
    p_model text,
    p_version text,
    p_input jsonb,
    p_format text,
    p_adjustments text[],
    p_timeout interval
) returns table (
    intent_id uuid,
    callback_secret text,
    created_at timestamptz,
    typical_seconds float8,
    retry_after interval
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
    v_job public.job_queue := public.held_job(p_job_id, p_lease_token, '{processing}');
    v_not_before timestamptz := (select not_before from public.provider_limits where provider = 'replicate');
begin
    if v_not_before > clock_timestamp() then -- said since the claim
        retry_after := v_not_before - clock_timestamp();
        return next;
        return;
    end if;
    typical_seconds := public.typical_seconds(p_model);
    insert into public.predictions (
        job_id, lease_token, model, version, input, format, expires_at, first_poll_seconds
    )
    values (
        p_job_id, p_lease_token, p_model, p_version, p_input, p_format, clock_timestamp() + p_timeout,
        -- A quick model is looked at sooner, so that its end is not known late by more than it takes.
        least(1, greatest(0.1, coalesce(typical_seconds, 4) / 4))
    )
    returning predictions.id, predictions.callback_secret, predictions.created_at
    into intent_id, callback_secret, created_at;
    update public.image_generations
    set adjustments = coalesce(p_adjustments, '{}'), updated_at = clock_timestamp()
    where image_generations.id = (v_job.payload ->> 'generation_id')::uuid;
    return next;
end;
$$;

comment on function public.intend_prediction(uuid, bigint, text, text, jsonb, text, text[], interval) is
'Commit the intent to pay for a prediction of p_input, p_timeout from now at most, and keep the generation''s
adjustments. While the provider is to be left alone there is no intent, and retry_after says how long.';

create or replace function public.typical_seconds(p_model text) returns float8
language sql
stable
set search_path = ''
as $$
    select avg(recent.seconds) filter (where recent.seconds between 0 and 86400)
    from (
        select predictions.seconds from public.predictions
        where predictions.model = p_model and predictions.status = 'succeeded'
        order by predictions.ended_at desc
        limit 20
    ) as recent;
$$;

comment on function public.typical_seconds(text) is
'How long the model''s last 20 pictures took on average, in seconds; null without any.';

create or replace function public.park_prediction(p_intent_id uuid, p_lease_token bigint, p_prediction_id text)
returns float8
language plpgsql
set search_path = ''
as $$
declare
    v_intent public.predictions;
    v_job public.job_queue;
begin
    select * into v_intent from public.predictions where predictions.id = p_intent_id;
    v_job := public.held_job(v_intent.job_id, p_lease_token);
    -- Read again now that the job is locked: its webhook may have been here before the answer to the create.
    update public.predictions
    set prediction_id = p_prediction_id,
        status = 'running',
        next_poll_at = clock_timestamp() + make_interval(secs => predictions.first_poll_seconds)
    where predictions.id = p_intent_id and predictions.lease_token = p_lease_token
        and predictions.status = 'intended'
    returning * into v_intent;
    if not found then
        if not exists (
            select from public.predictions
            where predictions.id = p_intent_id and predictions.prediction_id = p_prediction_id
        ) then
            raise exception using
                errcode = 'PT409', message = format('Intent %s is no longer held', p_intent_id);
        end if;
        return null;
    end if;
    update public.image_generations
    set replicate_prediction_id = p_prediction_id, updated_at = clock_timestamp()
    where image_generations.id = (v_job.payload ->> 'generation_id')::uuid;
    -- Parked: no worker renews this lease. It ends well after the prediction's own time, should all pollers be down.
    update public.job_queue
    set lease_expires_at = v_intent.expires_at + interval '5 minutes', updated_at = clock_timestamp()
    where job_queue.id = v_job.id and job_queue.status = 'processing';
    return v_intent.first_poll_seconds;
exception when unique_violation then
    raise exception using
        errcode = 'PT409', message = format('Prediction %s belongs to another intent', p_prediction_id);
end;
$$;

comment on function public.park_prediction(uuid, bigint, text) is
'Record the provider''s id of an intent and park its job; returns in how many seconds it is first looked at, null where
that was done before. Refused (PT409) when the lease is lost or another intent has that prediction.';

create or replace function public.void_prediction(p_intent_id uuid, p_lease_token bigint, p_error text, p_class text)
returns void
language sql
set search_path = ''
as $$
    update public.predictions
    set status = 'void', error_message = p_error, error_class = p_class, ended_at = clock_timestamp()
    where predictions.id = p_intent_id and predictions.lease_token = p_lease_token
        and predictions.status = 'intended';
$$;

comment on function public.void_prediction(uuid, bigint, text, text) is
'End an intent of which the provider has made nothing: it refused, was not reached, or does not know of it.';

create or replace function public.ended_prediction(p_intent_id uuid, p_lease_token bigint, out job public.job_queue)
language plpgsql
set search_path = ''
as $$
declare
    v_job_id uuid;
begin
    select predictions.job_id into v_job_id from public.predictions where predictions.id = p_intent_id;
    job := public.held_job(v_job_id, p_lease_token);
end;
$$;

comment on function public.ended_prediction(uuid, bigint) is
'The job of an intent, locked and still held under the token; completed is among what it may be.';

create or replace function public.succeed_prediction(
    p_intent_id uuid,
    p_lease_token bigint,
    p_output_urls text[],
    p_seconds float8,
    p_worker_id text default null,
    p_lease interval default '10 seconds'
) returns setof public.job_queue
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.ended_prediction(p_intent_id, p_lease_token);
    v_prediction public.predictions;
    v_generation public.image_generations;
    v_download_job_id uuid;
begin
    if v_job.status = 'completed' then
        return;
    end if;
    update public.predictions
    set status = 'succeeded',
        seconds = case when p_seconds between 0 and 86400 then p_seconds end,
        ended_at = clock_timestamp()
    where predictions.id = p_intent_id and predictions.status = 'running'
    returning * into v_prediction;
    if not found then
        raise exception using errcode = 'PT409', message = format('Intent %s does not run', p_intent_id);
    end if;
    update public.image_generations
    set status = 'downloading',
        generation_time_seconds = round(extract(epoch from clock_timestamp() - v_prediction.created_at)),
        updated_at = clock_timestamp()
    where image_generations.id = (v_job.payload ->> 'generation_id')::uuid
        and image_generations.status = 'processing'
    returning * into v_generation;
    if exists (select from public.paused_queues where paused_queues.job_type in ('download-image', '*')) then
        p_worker_id := null;
    end if;
    v_download_job_id := public.enqueue_job(
        'download-image',
        jsonb_build_object(
            'generation_id', v_job.payload -> 'generation_id',
            'user_id', v_job.payload -> 'user_id',
            'output_url', p_output_urls[1],
            'output_urls', p_output_urls,
            'format', v_prediction.format,
            'width', v_generation.width,
            'height', v_generation.height,
            'prompt', v_job.payload -> 'prompt',
            'negative_prompt', v_job.payload -> 'negative_prompt',
            'model_id', v_job.payload -> 'model_id'
        ),
        p_priority => 1,
        p_max_attempts => 8, -- it is paid for, and the provider keeps it for an hour: two minutes of trying, about
        -- Nobody else has to be woken for a job that is claimed here.
        p_scheduled_at => case when p_worker_id is not null then clock_timestamp() + p_lease end,
        p_created_by => v_job.created_by
    );
    perform public.complete_job(
        v_job.id,
        jsonb_build_object(
            'output_url', p_output_urls[1], 'format', v_prediction.format, 'download_job_id', v_download_job_id
        ),
        p_lease_token => p_lease_token
    );
    return query
    update public.job_queue
    set status = 'processing',
        attempt_number = 1,
        lease_token = job_queue.lease_token + 1,
        lease_expires_at = clock_timestamp() + p_lease,
        worker_id = p_worker_id,
        scheduled_at = clock_timestamp(),
        started_at = clock_timestamp()
    where job_queue.id = v_download_job_id and p_worker_id is not null
    returning job_queue.*;
end;
$$;

comment on function public.succeed_prediction(uuid, bigint, text[], float8, text, interval) is
'Complete the generate-image job of a prediction, queue its download-image job and mark the generation downloading. With
p_worker_id the download is claimed for that worker at once, and returned; a repetition returns nothing. p_seconds
counts from 0 to a day.';

create or replace function public.fail_prediction(
    p_intent_id uuid,
    p_lease_token bigint,
    p_status text,
    p_error text,
    p_class text,
    p_retry boolean,
    p_retry_after interval default null
) returns void
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := public.ended_prediction(p_intent_id, p_lease_token);
begin
    update public.predictions
    set status = p_status, error_message = p_error, error_class = p_class, ended_at = clock_timestamp()
    where predictions.id = p_intent_id and predictions.status = 'running';
    if not found then
        return; -- somebody has told its end before
    end if;
    -- A retry has to pay for a new one.
    update public.image_generations
    set replicate_prediction_id = null, updated_at = clock_timestamp()
    where image_generations.id = (v_job.payload ->> 'generation_id')::uuid;
    perform public.complete_job(
        v_job.id,
        p_error => p_error,
        p_lease_token => p_lease_token,
        p_retry => p_retry,
        p_retry_after => p_retry_after,
        p_error_class => p_class
    );
end;
$$;

comment on function public.fail_prediction(uuid, bigint, text, text, text, boolean, interval) is
'End a prediction that gave no picture, and its job''s attempt with it, as complete_job does.';

revoke execute on function public.intend_prediction(uuid, bigint, text, text, jsonb, text, text[], interval)
from public, anon, authenticated;
grant execute on function public.intend_prediction(
    uuid, bigint, text, text, jsonb, text, text[], interval
) to service_role;
revoke execute on function public.typical_seconds(text) from public, anon, authenticated;
grant execute on function public.typical_seconds(text) to service_role;
revoke execute on function public.park_prediction(uuid, bigint, text) from public, anon, authenticated;
grant execute on function public.park_prediction(uuid, bigint, text) to service_role;
revoke execute on function public.void_prediction(uuid, bigint, text, text) from public, anon, authenticated;
grant execute on function public.void_prediction(uuid, bigint, text, text) to service_role;
revoke execute on function public.ended_prediction(uuid, bigint) from public, anon, authenticated;
grant execute on function public.ended_prediction(uuid, bigint) to service_role;
revoke execute on function public.succeed_prediction(uuid, bigint, text[], float8, text, interval)
from public, anon, authenticated;
grant execute on function public.succeed_prediction(uuid, bigint, text[], float8, text, interval) to service_role;
revoke execute on function public.fail_prediction(uuid, bigint, text, text, text, boolean, interval)
from public, anon, authenticated;
grant execute on function public.fail_prediction(uuid, bigint, text, text, text, boolean, interval) to service_role;
