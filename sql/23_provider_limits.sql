-- set_provider_limit, limit_provider: rate and concurrency limits of a provider. provider_allowance,
-- spend_provider_allowance: a claim's part of them (token bucket).
-- Called by   operators; functions/process_generation after a 429; claim_jobs, claim_suspect
-- Promises    shared by all processes; a job that the provider would refuse waits in the queue, and costs no attempt
-- Locks       the provider's row before any job, and only while there is a limit

create or replace function public.set_provider_limit(
    p_per_minute float8 default null, p_in_flight int default null, p_provider text default 'replicate'
) returns void
language plpgsql
set search_path = ''
as $$
begin
    if p_per_minute <= 0 or p_in_flight < 1 then
        raise exception using errcode = 'PT400', message = 'p_per_minute and p_in_flight must be above 0, or null';
    end if;
    insert into public.provider_limits (provider, not_before, per_minute, in_flight)
    values (p_provider, '-infinity', p_per_minute, p_in_flight)
    on conflict (provider) do update set
        per_minute = excluded.per_minute,
        in_flight = excluded.in_flight,
        tokens = 1,
        refilled_at = clock_timestamp();
    perform picture_edge.log_operation('set_provider_limit', jsonb_build_object(
        'provider', p_provider, 'per_minute', p_per_minute, 'in_flight', p_in_flight
    ));
    perform picture_edge.wake_workers();
    if not exists (select from public.job_types where job_types.provider = p_provider) then
        raise notice 'No job type spends provider %, so no limit applies%', p_provider, coalesce(
            '; perhaps ' || picture_edge.nearest_name(
                p_provider, array(select distinct job_types.provider from public.job_types where provider is not null)
            ), ''
        );
    end if;
    raise notice '%: % predictions a minute, % at a time',
        p_provider, coalesce(p_per_minute::text, 'any number of'), coalesce(p_in_flight::text, 'any number');
end;
$$;

comment on function public.set_provider_limit(float8, int, text) is
'Rate limit: create at most p_per_minute predictions a minute (bursts of two seconds'' worth), with at most p_in_flight
under way; null is no limit. Jobs beyond wait in the queue.';

create or replace function picture_edge.limit_provider(
    p_retry_after interval, p_spacing interval default null, p_provider text default 'replicate'
) returns timestamptz
language sql
set search_path = ''
as $$
    insert into public.provider_limits as known (provider, not_before, spacing, spaced_until, tokens, refilled_at)
    values (
        p_provider,
        clock_timestamp() + p_retry_after,
        coalesce(p_spacing, '0'),
        case when p_spacing is null then '-infinity' else clock_timestamp() + interval '10 minutes' end,
        1,
        clock_timestamp() + p_retry_after
    )
    on conflict (provider) do update set
        not_before = greatest(known.not_before, excluded.not_before),
        spacing = coalesce(p_spacing, known.spacing),
        spaced_until = greatest(known.spaced_until, excluded.spaced_until),
        tokens = least(known.tokens, 1),
        refilled_at = greatest(known.not_before, excluded.not_before)
    returning not_before;
$$;

comment on function picture_edge.limit_provider(interval, interval, text) is
'Keep what a 429 said, for all workers: no prediction is created within p_retry_after, and for ten minutes no two within
p_spacing of each other. Returns when the next may be created.';

create or replace function picture_edge.provider_allowance(p_provider text) returns int
language plpgsql
set search_path = ''
as $$
declare
    v_limit public.provider_limits;
    v_now timestamptz;
    v_rate float8; -- predictions a second
    v_burst float8;
    v_running int;
begin
    select * into v_limit from public.provider_limits where provider = p_provider;
    if not found
        or (
            v_limit.not_before <= clock_timestamp() and v_limit.spaced_until <= clock_timestamp()
            and v_limit.per_minute is null and v_limit.in_flight is null
        ) then
        return null;
    end if;
    select * into v_limit from public.provider_limits where provider = p_provider for update;
    v_now := clock_timestamp();
    if v_limit.not_before > v_now then
        return 0;
    end if;
    v_rate := v_limit.per_minute / 60;
    v_burst := greatest(1, 2 * v_rate);
    if v_limit.spaced_until > v_now then
        v_rate := least(v_rate, 1 / nullif(extract(epoch from v_limit.spacing), 0)); -- spacing 0: any rate
        v_burst := 1;
    end if;
    if v_rate is not null then
        v_limit.tokens := least(
            v_burst,
            v_limit.tokens + v_rate * greatest(0, extract(epoch from v_now - v_limit.refilled_at))
        );
        update public.provider_limits
        set tokens = v_limit.tokens, refilled_at = v_now
        where provider = p_provider;
    end if;
    if v_limit.in_flight is not null then
        v_running := (
            select count(*)
            from (
                select from public.job_queue
                where job_queue.status = 'processing' and job_queue.job_type = any (array(
                    select job_types.job_type from public.job_types where job_types.provider = p_provider
                ))
                limit v_limit.in_flight
            ) as running
        );
    end if;
    return greatest(0, least(
        case when v_rate is not null then floor(v_limit.tokens) end,
        v_limit.in_flight - v_running,
        2147483647
    ));
end;
$$;

comment on function picture_edge.provider_allowance(text) is
'How many jobs of the provider''s types (job_types) may be claimed now, counting those under way, parked ones too; null:
any number. Unless it is null, the provider''s row stays locked until the claim is committed.';

create or replace function picture_edge.spend_provider_allowance(p_count int, p_provider text)
returns void
language sql
set search_path = ''
as $$
    update public.provider_limits set tokens = provider_limits.tokens - p_count where provider = p_provider;
$$;

comment on function picture_edge.spend_provider_allowance(int, text) is
'Take p_count tokens from the bucket, after provider_allowance and in its transaction.';

revoke execute on function public.set_provider_limit(float8, int, text) from public, anon, authenticated;
grant execute on function public.set_provider_limit(float8, int, text) to service_role;
revoke execute on function picture_edge.limit_provider(interval, interval, text) from public, anon, authenticated;
grant execute on function picture_edge.limit_provider(interval, interval, text) to service_role;
revoke execute on function picture_edge.provider_allowance(text) from public, anon, authenticated;
grant execute on function picture_edge.provider_allowance(text) to service_role;
revoke execute on function picture_edge.spend_provider_allowance(int, text) from public, anon, authenticated;
grant execute on function picture_edge.spend_provider_allowance(int, text) to service_role;
