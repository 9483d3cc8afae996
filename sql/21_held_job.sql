-- held_job: the fence. A write with a stale fencing token is refused before it changes a row.
-- Called by   every function that changes a claimed job: leases, steps of a prediction, ends, operators' commands
-- Promises    the job is locked (for update) until the caller commits; a worker that lost its lease changes nothing and
--             is told so

create or replace function picture_edge.held_job(
    p_job_id uuid,
    p_lease_token bigint,
    p_statuses text[] default '{processing, completed}'
) returns public.job_queue
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue;
begin
    select * into v_job from public.job_queue where job_queue.id = p_job_id for update;
    if not found then
        raise exception using
            errcode = 'PT404',
            message = format('Job %s not found', coalesce(p_job_id::text, 'null')),
            hint = coalesce((
                select
                    'This is the id of a generation. Its jobs: '
                    || string_agg(of_it.job_type || ' ' || of_it.id::text, ', ')
                from public.job_queue as of_it
                inner join public.image_generations on image_generations.id = p_job_id
                where of_it.payload ->> 'generation_id' = p_job_id::text
                    and of_it.created_at >= image_generations.created_at
            ), '');
    end if;
    if p_lease_token is not null
        and (v_job.lease_token <> p_lease_token or v_job.status <> all (p_statuses)) then
        raise exception using
            errcode = 'PT409',
            message = format('Lease %s of job %s is no longer held', p_lease_token, p_job_id),
            detail = v_job.status;
    end if;
    return v_job;
end;
$$;

comment on function picture_edge.held_job(uuid, bigint, text[]) is
'Lock a job and return it, refusing (PT409) a fencing token that is not its newest or a status not in p_statuses.
completed is among the statuses so that a step is idempotent. A null token is an operator''s and is never refused.';

revoke execute on function picture_edge.held_job(uuid, bigint, text[]) from public, anon, authenticated;
grant execute on function picture_edge.held_job(uuid, bigint, text[]) to service_role;
