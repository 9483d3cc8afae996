-- claim_polls: which running predictions are to be asked for, each by one poller.
-- abandon_prediction, poll_ended_job: those that nobody wants any more.
-- Called by   functions/process_generation as service_role: the poller of each process
-- Promises    no poll is missed when a process dies, and none is made twice at a time; there is no leader

create or replace function public.claim_polls(p_limit int default 100)
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
            -- Distant ones fall due together, so that a list of them answers for many: on a grid of 5 or 15 seconds.
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

comment on function public.claim_polls(int) is
'Up to p_limit running predictions that are due to be asked for, each handed to one poller; the next time is twice as
far, at most 15 s. expired: its time is up. wanted false: its job has ended without it, or is deleted.';

create or replace function public.abandon_prediction(p_intent_id uuid) returns void
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

comment on function public.abandon_prediction(uuid) is
'Note that a running prediction was cancelled because its job had ended without it.';

-- A job that is cancelled or fails while its prediction runs: the next look cancels that, so it is made due now.
create or replace function public.poll_ended_job() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    update public.predictions set next_poll_at = clock_timestamp()
    where predictions.job_id = new.id and predictions.status = 'running';
    return null;
end;
$$;

comment on function public.poll_ended_job() is
'Trigger: have the poller look at once at the running prediction of a job that has ended without it.';

create or replace trigger poll_ended_job
after update of status on public.job_queue
for each row
when (
    old.status is distinct from new.status and new.status in ('failed', 'cancelled')
    and not (new.status = 'cancelled' and row_security_active('public.job_queue')) -- as in sql/32_generation_status.sql
)
execute function public.poll_ended_job();

revoke execute on function public.claim_polls(int) from public, anon, authenticated;
grant execute on function public.claim_polls(int) to service_role;
revoke execute on function public.abandon_prediction(uuid) from public, anon, authenticated;
grant execute on function public.abandon_prediction(uuid) to service_role;
revoke execute on function public.poll_ended_job() from public, anon, authenticated;
