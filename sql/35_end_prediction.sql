-- succeed_prediction, fail_prediction: the terminal status of a prediction, and what follows from it.
-- Called by   functions/process_generation as service_role: the create's response, the poller, the provider's webhook
-- Promises    the end is written once, by the first of them that learns it, the others change nothing; the prediction's
--             end, the job's, the generation's status and the download-image job are one transaction; refused (PT409)
--             without the lease the prediction was begun under
-- Locks       the job, then its prediction, then its generation: as in sql/33_park_prediction.sql

create or replace function picture_edge.ended_prediction(
    p_intent_id uuid, p_lease_token bigint, out job public.job_queue
)
language plpgsql
set search_path = ''
as $$
declare
    v_job_id uuid;
begin
    select predictions.job_id into v_job_id from public.predictions where predictions.id = p_intent_id;
    job := picture_edge.held_job(v_job_id, p_lease_token);
end;
$$;

comment on function picture_edge.ended_prediction(uuid, bigint) is
'Lock the job of an intent and return it, refusing (PT409) a stale token; a completed job is returned as well, so that
an end is idempotent.';

create or replace function picture_edge.succeed_prediction(
    p_intent_id uuid,
    p_lease_token bigint,
    p_output_urls text[],
    p_seconds float8,
    p_worker_id text,
    p_lease interval
) returns setof public.job_queue
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := picture_edge.ended_prediction(p_intent_id, p_lease_token);
    v_prediction public.predictions;
    v_generation public.image_generations;
    v_download_job_id uuid;
    -- An address only: a data URI is a whole picture, and output_urls has it already.
    v_output_url text := case when left(p_output_urls[1], 5) <> 'data:' then p_output_urls[1] end;
begin
    if v_job.status = 'completed' then
        return;
    end if;
    update public.predictions
    set status = 'succeeded',
        seconds = case when p_seconds between 0 and 86400 then p_seconds end,
        pictures = cardinality(p_output_urls),
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
            'output_url', v_output_url,
            'output_urls', p_output_urls,
            'format', v_prediction.format,
            'width', v_generation.width,
            'height', v_generation.height,
            'prompt', v_job.payload -> 'prompt',
            'negative_prompt', v_job.payload -> 'negative_prompt',
            'model_id', v_job.payload -> 'model_id'
        ) || case when v_job.payload ? 'traceparent' -- functions/_shared/tracing.py
            then jsonb_build_object('traceparent', v_job.payload -> 'traceparent') else '{}' end,
        p_priority => 1,
        -- Retried for about two minutes: the picture is paid for, and the provider keeps it for an hour.
        p_max_attempts => 8,
        -- In the future, so that no other worker is woken for a job that is claimed right here.
        p_scheduled_at => case when p_worker_id is not null then clock_timestamp() + p_lease end,
        p_created_by => v_job.created_by
    );
    perform public.complete_job(
        v_job.id,
        jsonb_build_object(
            'output_url', v_output_url, 'format', v_prediction.format, 'download_job_id', v_download_job_id
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

comment on function picture_edge.succeed_prediction(uuid, bigint, text[], float8, text, interval) is
'Complete the generate-image job of a prediction, queue its download-image job and mark the generation downloading. With
p_worker_id the download is claimed for that worker under a lease of p_lease, and returned; without it nobody claims it,
and p_lease counts for nothing. A repetition returns nothing. p_seconds is kept from 0 to a day.';

create or replace function picture_edge.fail_prediction(
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
    v_job public.job_queue := picture_edge.ended_prediction(p_intent_id, p_lease_token);
begin
    update public.predictions
    set status = p_status, error_message = p_error, error_class = p_class, ended_at = clock_timestamp()
    where predictions.id = p_intent_id and predictions.status = 'running';
    if not found then
        return; -- idempotent: its end was written before
    end if;
    -- Nothing is left to adopt: a retry pays for a new prediction.
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

comment on function picture_edge.fail_prediction(uuid, bigint, text, text, text, boolean, interval) is
'End a prediction without a picture, and its job''s attempt with it, as complete_job does.';

revoke execute on function picture_edge.ended_prediction(uuid, bigint) from public, anon, authenticated;
grant execute on function picture_edge.ended_prediction(uuid, bigint) to service_role;
revoke execute on function picture_edge.succeed_prediction(uuid, bigint, text[], float8, text, interval)
from public, anon, authenticated;
grant execute on function picture_edge.succeed_prediction(uuid, bigint, text[], float8, text, interval) to service_role;
revoke execute on function picture_edge.fail_prediction(uuid, bigint, text, text, text, boolean, interval)
from public, anon, authenticated;
grant execute on function picture_edge.fail_prediction(uuid, bigint, text, text, text, boolean, interval) to
service_role;
