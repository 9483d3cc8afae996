-- intend_prediction, park_prediction, void_prediction: a paid prediction up to the point where the provider works on
-- it. typical_seconds: how long a model takes.
-- Called by   functions/process_generation as service_role: the job's worker
-- Promises    write-ahead intent: it is committed before the provider is asked, so that no paid prediction is unknown;
--             a prediction belongs to one row; each step is one transaction, idempotent, and refused (PT409) without
--             the lease; a parked job holds no worker
-- Locks       the job, then its prediction, then its generation: always in this order

create or replace function picture_edge.intend_prediction(
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
    v_job public.job_queue := picture_edge.held_job(p_job_id, p_lease_token, '{processing}');
    v_not_before timestamptz := (select not_before from public.provider_limits where provider = 'replicate');
begin
    if v_not_before > clock_timestamp() then -- a 429 since the claim
        retry_after := v_not_before - clock_timestamp();
        return next;
        return;
    end if;
    perform picture_edge.check_budget(v_job.created_by); -- as it is now: the request may have waited for days
    typical_seconds := picture_edge.typical_seconds(p_model);
    insert into public.predictions (
        job_id, lease_token, model, version, input, format, expires_at, first_poll_seconds
    )
    values (
        p_job_id, p_lease_token, p_model, p_version, p_input, p_format, clock_timestamp() + p_timeout,
        -- First poll after a quarter of the model's usual time: a quick model's end is noticed early.
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

comment on function picture_edge.intend_prediction(uuid, bigint, text, text, jsonb, text, text[], interval) is
'Commit the intent to pay for a prediction of p_input, which may take p_timeout from now, and keep the generation''s
adjustments. While a 429 holds the provider back there is no intent, and retry_after says for how long. Where a budget
is spent: PT402, PT429.';

create or replace function picture_edge.typical_seconds(p_model text) returns float8
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

comment on function picture_edge.typical_seconds(text) is
'Average time of the model''s last 20 succeeded predictions, in seconds; null without any.';

create or replace function picture_edge.park_prediction(p_intent_id uuid, p_lease_token bigint, p_prediction_id text)
returns float8
language plpgsql
set search_path = ''
as $$
declare
    v_intent public.predictions;
    v_job public.job_queue;
begin
    select * into v_intent from public.predictions where predictions.id = p_intent_id;
    v_job := picture_edge.held_job(v_intent.job_id, p_lease_token);
    -- Checked again under the job's lock: the webhook may have come before the response to the create.
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
    -- Parked: no worker renews this lease, so it outlasts the prediction. The 5 minutes are no worker's lease but a
    -- grace for the pollers, should all of them be down.
    update public.job_queue
    set parked = true, lease_expires_at = v_intent.expires_at + interval '5 minutes', updated_at = clock_timestamp()
    where job_queue.id = v_job.id and job_queue.status = 'processing';
    return v_intent.first_poll_seconds;
exception when unique_violation then
    raise exception using
        errcode = 'PT409', message = format('Prediction %s belongs to another intent', p_prediction_id);
end;
$$;

comment on function picture_edge.park_prediction(uuid, bigint, text) is
'Record the provider''s id of an intent and park its job; returns the seconds until its first poll, null where it was
parked before. Refused (PT409) when the lease is lost or another intent has that prediction.';

create or replace function picture_edge.void_prediction(
    p_intent_id uuid, p_lease_token bigint, p_error text, p_class text
) returns void
language sql
set search_path = ''
as $$
    update public.predictions
    set status = 'void', error_message = p_error, error_class = p_class, ended_at = clock_timestamp()
    where predictions.id = p_intent_id and predictions.lease_token = p_lease_token
        and predictions.status = 'intended';
$$;

comment on function picture_edge.void_prediction(uuid, bigint, text, text) is
'End an intent without a prediction: the provider refused it, was not reached, or has no record of it.';

revoke execute on function picture_edge.intend_prediction(uuid, bigint, text, text, jsonb, text, text[], interval)
from public, anon, authenticated;
grant execute on function picture_edge.intend_prediction(
    uuid, bigint, text, text, jsonb, text, text[], interval
) to service_role;
revoke execute on function picture_edge.typical_seconds(text) from public, anon, authenticated;
grant execute on function picture_edge.typical_seconds(text) to service_role;
revoke execute on function picture_edge.park_prediction(uuid, bigint, text) from public, anon, authenticated;
grant execute on function picture_edge.park_prediction(uuid, bigint, text) to service_role;
revoke execute on function picture_edge.void_prediction(uuid, bigint, text, text) from public, anon, authenticated;
grant execute on function picture_edge.void_prediction(uuid, bigint, text, text) to service_role;
