-- begin_generate_image: a worker begins an attempt. A prediction of an earlier attempt is adopted instead of paid
-- again.
-- Called by   functions/process_generation for the job's worker, as service_role
-- Promises    refused (PT409) without the lease; at most one paid prediction per job runs: what an earlier attempt left
--             intended or running is handed over under the new fencing token
-- Locks       the job, then its prediction, then its generation: as in sql/33_park_prediction.sql

create or replace function picture_edge.begin_generate_image(
    p_job_id uuid, p_lease_token bigint, p_generation_id uuid, p_timeout interval
) returns setof public.predictions
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := picture_edge.held_job(p_job_id, p_lease_token);
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
    -- Legacy rows: a prediction paid for by an earlier version stands in the generation only.
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
    if v_prediction.status = 'running' then -- parked again, as in park_prediction
        update public.job_queue
        set parked = true, lease_expires_at = v_prediction.expires_at + interval '5 minutes',
            updated_at = clock_timestamp()
        where job_queue.id = p_job_id and job_queue.status = 'processing';
    end if;
    return next v_prediction;
end;
$$;

comment on function picture_edge.begin_generate_image(uuid, bigint, uuid, interval) is
'Mark a generation processing. No row: nothing is paid for yet. A running prediction of an earlier attempt is adopted
and the job parked, for p_timeout from now; an intended one has an unknown outcome, and is returned to be searched for
at the provider.';

revoke execute on function picture_edge.begin_generate_image(uuid, bigint, uuid, interval) from public, anon,
authenticated; grant execute on function picture_edge.begin_generate_image(uuid, bigint, uuid, interval) to
service_role;
