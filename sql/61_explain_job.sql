-- explain_job: why a job or a generation waits, when it will be done, what its attempts came to. For people.
-- waiting_for: its reasons.
-- Called by   operators
-- Promises    reads only; a bounded part of the queue, however long that is; every reason that holds the job back is
--             named with the call that ends it; without evidence it says what is not known

create or replace function picture_edge.waiting_for(p_job public.job_queue) returns setof text
language plpgsql
stable
set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_limit public.provider_limits;
    v_count int;
begin
    return query
    select format(
        'paused: pause_queue(%L) %s. select resume_queue(%L) ends it',
        paused_queues.job_type, picture_edge.moment(paused_queues.paused_at), paused_queues.job_type
    )
    from public.paused_queues where paused_queues.job_type in (p_job.job_type, '*');

    if p_job.scheduled_at > v_now then
        return next case when p_job.attempt_number > 0 or jsonb_array_length(p_job.errors) > 0
            then 'backoff: the next attempt may begin ' else 'scheduled: it may begin ' end
            || picture_edge.moment(p_job.scheduled_at);
    end if;
    if p_job.share_rank < 0 then
        return next 'suspect: two of its workers have died with it, so that it runs alone';
    end if;

    select provider_limits.* into v_limit
    from public.provider_limits
    inner join public.job_types on job_types.provider = provider_limits.provider
    where job_types.job_type = p_job.job_type;
    if v_limit.not_before > v_now then
        return next format(
            'provider limit: %s has answered 429. No prediction is created before %s',
            v_limit.provider, picture_edge.moment(v_limit.not_before)
        );
    end if;
    if v_limit.spaced_until > v_now and v_limit.spacing > interval '0' then
        return next format(
            'provider limit: %s takes one prediction each %s, as its last 429 said, until %s',
            v_limit.provider, picture_edge.spoken(v_limit.spacing), picture_edge.moment(v_limit.spaced_until)
        );
    end if;
    if v_limit.per_minute is not null then
        return next format('provider limit: %s predictions a minute (set_provider_limit)', v_limit.per_minute);
    end if;
    if v_limit.in_flight is not null then
        select count(*) into v_count
        from public.job_queue
        inner join public.job_types on job_types.job_type = job_queue.job_type
        where job_queue.status = 'processing' and job_types.provider = v_limit.provider;
        if v_count >= v_limit.in_flight then
            return next format(
                'provider limit: %s predictions are under way, and %s may be (set_provider_limit)',
                v_count, v_limit.in_flight
            );
        end if;
    end if;

    if p_job.job_type = 'generate-image' then
        return query
        select format(
            'budget: %s USD a %s are spent%s. No prediction is made before %s (set_budget)',
            spent.usd, spent.period, case when spent.scope = 'all' then ' by all' else ' by this user' end,
            picture_edge.moment(spent.until)
        )
        from picture_edge.spent_budgets(p_job.created_by) as spent;
    end if;

    if not exists (select from public.workers where workers.last_seen_at > v_now - interval '30 seconds') then
        return next coalesce(
            (
                select 'no worker: no process runs jobs. The last one was seen '
                    || picture_edge.moment(max(workers.last_seen_at))
                from public.workers
                having count(*) > 0
            ),
            'no worker: no process has run jobs within ten minutes. Start one'
        );
    elsif not exists (
        select from public.workers
        where workers.last_seen_at > v_now - interval '30 seconds' and p_job.job_type = any (workers.job_types)
    ) then
        return next format(
            'no handler: no running process has one for %s%s', p_job.job_type, coalesce(
                '. Perhaps it means ' || picture_edge.nearest_name(p_job.job_type, array(
                    select distinct handled.job_type
                    from public.workers cross join unnest(workers.job_types) as handled (job_type)
                )), ''
            )
        );
    end if;

    if p_job.scheduled_at <= v_now then
        v_count := picture_edge.place_in_line(p_job.id);
        return next case v_count
            when 0 then 'line: it is the next one of its type'
            else format(
                'line: %s jobs of its type are before it',
                case when v_count >= 9999 then 'at least 10000' else v_count::text end
            )
        end;
    end if;
end;
$$;

comment on function picture_edge.waiting_for(public.job_queue) is
'What a pending job waits for, a text each: pauses, its time, limits of its provider, workers, its place in line.';

create or replace function public.explain_job(p_id uuid) returns table (aspect text, detail text)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_generation public.image_generations;
    v_job public.job_queue;
    v_jobs uuid[];
    v_seconds float8;
begin
    select * into v_job from public.job_queue where job_queue.id = p_id;
    select * into v_generation
    from public.image_generations
    where image_generations.id = case
        when v_job.id is null then p_id
        when (v_job.payload ->> 'generation_id') ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            then (v_job.payload ->> 'generation_id')::uuid
    end;
    if v_generation.id is not null then
        -- By the index of its owner's jobs, from the generation's time on.
        v_jobs := array(
            select mine.id
            from (
                select job_queue.id, job_queue.created_at, job_queue.payload
                from public.job_queue
                where job_queue.created_by = v_generation.user_id and job_queue.created_at >= v_generation.created_at
                order by job_queue.created_at
                limit 10000
            ) as mine
            where mine.payload ->> 'generation_id' = v_generation.id::text
            order by mine.created_at, mine.id
        );
    end if;
    if v_job.id is null then -- the generation's newest job that has not ended, else its newest
        select * into v_job
        from public.job_queue
        where job_queue.id = any (v_jobs)
        order by job_queue.status in ('pending', 'processing') desc, job_queue.created_at desc
        limit 1;
    end if;
    if v_job.id is null and v_generation.id is null then
        raise notice 'No job and no generation has the id %', coalesce(p_id::text, 'null');
        return;
    end if;

    if v_generation.id is not null then
        return query values
            ('generation', v_generation.id::text),
            ('model', v_generation.model),
            ('user', v_generation.user_id::text),
            ('requested', picture_edge.moment(v_generation.created_at)),
            (
                'picture', v_generation.status
                || case when v_generation.status = 'processing' then format(
                    ' (%s, %s %%)', v_generation.stage, v_generation.progress
                ) else '' end
                || coalesce(': ' || v_generation.error_message, '')
            );
    end if;
    if v_job.id is null then
        return query select 'job', case
            when v_generation.status in ('pending', 'queued', 'processing', 'downloading')
                then 'none: it was not queued, or a request of generate-image makes it'
            else 'none: it was deleted (purge_jobs), or a request of generate-image made it'
        end;
        return;
    end if;
    return query
    select 'job', format('%s %s: %s', other.job_type, other.id, other.status)
    from public.job_queue as other
    where other.id = any (array_append(v_jobs, v_job.id))
    order by other.created_at, other.id;
    return query values
        ('enqueued', picture_edge.moment(v_job.created_at)),
        ('state', v_job.status || case
            when v_job.status in ('completed', 'failed', 'cancelled')
                then ' ' || picture_edge.moment(v_job.completed_at) || coalesce(': ' || v_job.error_message, '')
            when v_job.status = 'pending' and v_job.attempt_number > 0
                then format(' again, after attempt %s of %s', v_job.attempt_number, v_job.max_attempts)
            when v_job.status = 'processing'
                then format(', attempt %s of %s', v_job.attempt_number, v_job.max_attempts)
            else ''
        end);

    if v_job.status = 'pending' then
        return query select 'waits', reason.it from picture_edge.waiting_for(v_job) as reason (it);
    elsif v_job.parked then
        return query
        select 'waits', format(
            'provider: prediction %s runs since %s; %s polls, the next %s; it is cancelled %s',
            running.prediction_id, picture_edge.moment(running.created_at), running.polls,
            picture_edge.moment(running.next_poll_at), picture_edge.moment(running.expires_at)
        )
        from public.predictions as running
        where running.job_id = v_job.id and running.status = 'running';
    elsif v_job.status = 'processing' then
        return query select 'waits', case
            when v_job.lease_expires_at < clock_timestamp() then format(
                'worker: %s stopped answering. The job goes back into the queue within seconds, if a worker runs',
                v_job.worker_id
            )
            else format(
                'worker: %s has it since %s, its lease ends %s',
                v_job.worker_id, picture_edge.moment(v_job.started_at), picture_edge.moment(v_job.lease_expires_at)
            )
        end;
    end if;
    if v_job.status in ('pending', 'processing') then
        v_seconds := picture_edge.seconds_left(v_job);
        return query select 'expected', case
            when v_job.status = 'pending' and exists (
                select from public.paused_queues where paused_queues.job_type in (v_job.job_type, '*')
            ) then 'not before the pause ends'
            when v_job.status = 'pending' and not exists (
                select from public.workers
                where workers.last_seen_at > clock_timestamp() - interval '30 seconds'
                    and v_job.job_type = any (workers.job_types)
            ) then 'not before a worker runs that has a handler for it'
            when v_job.scheduled_at = 'infinity' then 'never: its time is infinity'
            when v_seconds is null then 'not known: nothing like it has ended within ten minutes'
            else picture_edge.moment(clock_timestamp() + make_interval(secs => v_seconds))
        end;
    end if;
    return query
    select 'quota', format(
        '%s: %s of %s used%s', used.name, used.used, used.quota,
        case when used.used >= used.quota then coalesce('; room again ' || picture_edge.moment(used.free_at), '')
            else '' end
    )
    from picture_edge.quota_use(coalesce(v_generation.user_id, v_job.created_by)) as used
    where used.quota is not null;

    return query
    select 'attempt', format(
        '%s of %s, %s: %s: %s', failed.error ->> 'attempt', of_it.job_type,
        picture_edge.moment((failed.error ->> 'at')::timestamptz), failed.error ->> 'class', failed.error ->> 'text'
    )
    from public.job_queue as of_it
    cross join jsonb_array_elements(of_it.errors) as failed (error)
    where of_it.id = any (array_append(v_jobs, v_job.id))
    order by (failed.error ->> 'at')::timestamptz;
    return query
    select 'prediction', format(
        '%s: %s %s%s%s', coalesce(predictions.prediction_id, 'not made'), predictions.model, predictions.status,
        coalesce(' after ' || picture_edge.spoken(make_interval(secs => predictions.seconds)), ''),
        coalesce(': ' || predictions.error_message, '')
    )
    from public.predictions
    where predictions.job_id = any (array_append(v_jobs, v_job.id))
    order by predictions.created_at;
    return query
    select 'cost', coalesce(sum(spend.usd - spend.refunded_usd) || ' USD', 'not known: no price in model_prices')
    from public.spend
    where spend.prediction_id = any (array_append(
        array(
            select predictions.prediction_id from public.predictions
            where predictions.job_id = any (array_append(v_jobs, v_job.id))
        ),
        v_generation.replicate_prediction_id
    ))
    having count(*) > 0;
end;
$$;

comment on function public.explain_job(uuid) is
'Explain a job or a generation, by the id of either: its state, what it waits for, when it is expected, its attempts,
predictions and cost. A row for each thing there is to say. An id that nothing has: no row, and a NOTICE.';

revoke execute on function picture_edge.waiting_for(public.job_queue) from public, anon, authenticated;
grant execute on function picture_edge.waiting_for(public.job_queue) to service_role;
revoke execute on function public.explain_job(uuid) from public, anon, authenticated;
grant execute on function public.explain_job(uuid) to service_role;
