-- claim_polls: the running predictions that are due to be polled, each by one poller.
-- abandon_prediction: an orphan, whose job has ended without it; move_generation_with_job has made its poll due.
-- Called by   functions/process_generation as service_role: the poller of each process
-- Promises    no leader: a poll is claimed with skip locked, its next time is set with the claim, so that a dead
--             process's polls are taken up by the others; exponential distance, up to 15 s

create or replace function picture_edge.claim_polls(p_limit int default 100)
returns table (
    intent_id uuid,
    job_id uuid,
    lease_token bigint,
    prediction_id text,
    callback_secret text,
    created_at timestamptz,
    expired boolean,
    wanted boolean,
    next_poll_seconds float8,
    generation_id uuid
)
language sql
set search_path = ''
as $$
    with due as materialized (
        select predictions.id
        from public.predictions
        where predictions.status = 'running' and predictions.next_poll_at <= clock_timestamp()
        order by predictions.next_poll_at
        limit p_limit
        for update skip locked
    ),
    claimed as (
        update public.predictions
        set polls = predictions.polls + 1,
            -- Long distances are rounded to a grid of 5 or 15 s, so that polls fall due together and one listing
            -- answers many of them.
            next_poll_at = case
                when distance.seconds < 5 then clock_timestamp() + make_interval(secs => distance.seconds)
                when distance.seconds < 15
                    then to_timestamp(5 * floor((extract(epoch from clock_timestamp()) + distance.seconds) / 5))
                else to_timestamp(15 * floor((extract(epoch from clock_timestamp()) + 15) / 15))
            end
        from (
            select
                predictions.id,
                least(15, predictions.first_poll_seconds * 2 ^ least(predictions.polls + 1, 10)) as seconds
            from public.predictions
            where predictions.id = any (array(select due.id from due))
        ) as distance
        where predictions.id = distance.id
        returning predictions.*
    )
    select
        claimed.id,
        claimed.job_id,
        claimed.lease_token,
        claimed.prediction_id,
        claimed.callback_secret,
        claimed.created_at,
        claimed.expires_at <= clock_timestamp(),
        coalesce(job_queue.status in ('pending', 'processing'), false),
        extract(epoch from claimed.next_poll_at - clock_timestamp())::float8,
        (job_queue.payload ->> 'generation_id')::uuid
    from claimed
    left join public.job_queue on job_queue.id = claimed.job_id;
$$;

comment on function picture_edge.claim_polls(int) is
'Up to p_limit running predictions that are due to be polled, each handed to one poller; the next poll is twice as far,
at most 15 s. expired: its time is up. wanted false: its job has ended without it, or is deleted.';

create or replace function picture_edge.abandon_prediction(p_intent_id uuid) returns void
language sql
set search_path = ''
as $$
    update public.predictions
    set status = 'canceled', error_message = 'Its job had ended', ended_at = clock_timestamp()
    where predictions.id = p_intent_id and predictions.status = 'running'
        and not exists (
            select from public.job_queue
            where job_queue.id = predictions.job_id and job_queue.status in ('pending', 'processing')
        );
$$;

comment on function picture_edge.abandon_prediction(uuid) is
'Mark a running prediction canceled because its job had ended without it.';

revoke execute on function picture_edge.claim_polls(int) from public, anon, authenticated;
grant execute on function picture_edge.claim_polls(int) to service_role;
revoke execute on function picture_edge.abandon_prediction(uuid) from public, anon, authenticated;
grant execute on function picture_edge.abandon_prediction(uuid) to service_role;
