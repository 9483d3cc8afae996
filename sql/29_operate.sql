-- cancel_job, redrive_job, purge_jobs: what an operator does to jobs, beside plain statements.
-- Called by   operators; cleanup-old-jobs calls purge_jobs each day
-- Promises    each is idempotent; an ended job starts again by redrive only, or by a reset in plain SQL

create or replace function public.cancel_job(p_job_id uuid, p_reason text default null) returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := picture_edge.held_job(p_job_id, null);
begin
    update public.job_queue
    set status = 'cancelled', error_message = p_reason, completed_at = clock_timestamp(), lease_expires_at = null,
        parked = false, updated_at = clock_timestamp()
    where job_queue.id = p_job_id and job_queue.status in ('pending', 'processing');
    if not found then
        return v_job.status = 'cancelled';
    end if;
    if v_job.status = 'processing' then
        perform pg_notify('picture_edge_cancelled', p_job_id::text);
    end if;
    perform picture_edge.log_operation('cancel_job', jsonb_build_object('id', p_job_id, 'reason', p_reason), 1);
    return true;
end;
$$;

comment on function public.cancel_job(uuid, text) is
'Cancel a pending or running job, and its generation with it; a running job''s worker is notified, and its next write
refused. Returns whether the job is cancelled now: false where it had ended otherwise. Unknown: PT404.';

create or replace function public.redrive_job(p_job_id uuid) returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := picture_edge.held_job(p_job_id, null);
begin
    if v_job.status = 'completed' then
        raise exception using
            errcode = 'PT409', message = format('Job %s is completed: there is nothing to redrive', p_job_id);
    end if;
    update public.job_queue
    set status = 'pending', attempt_number = 0, crash_count = 0, share_rank = greatest(job_queue.share_rank, 0),
        error_message = null, completed_at = null, scheduled_at = clock_timestamp(), updated_at = clock_timestamp()
    where job_queue.id = p_job_id and job_queue.status in ('failed', 'cancelled');
    if not found then
        return false;
    end if;
    perform picture_edge.log_operation('redrive_job', jsonb_build_object('id', p_job_id), 1);
    perform picture_edge.wake_workers();
    return true;
exception when unique_violation then
    raise exception using
        errcode = 'PT409',
        message = format('Another %s job with dedupe key %s is active', v_job.job_type, v_job.dedupe_key);
end;
$$;

comment on function public.redrive_job(uuid) is
'Run a failed or cancelled job again, now and with all its attempts; its errors are kept and its generation reopens.
Returns whether it was failed or cancelled: false for a pending or running job. Completed, or its dedupe key taken:
PT409. Unknown: PT404.';

create or replace function public.purge_jobs(
    p_older_than interval default '7 days',
    p_statuses text[] default '{completed, cancelled}'
) returns int
language plpgsql
set search_path = ''
as $$
declare
    v_count int;
begin
    if p_older_than is null or p_older_than < interval '0' then
        raise exception using errcode = 'PT400', message = 'p_older_than must be an interval of 0 or more';
    end if;
    if p_statuses is null or not p_statuses <@ '{completed, failed, cancelled}' then
        raise exception using
            errcode = 'PT400', message = 'p_statuses may hold completed, failed and cancelled only';
    end if;
    perform picture_edge.keep_queue_history(); -- what is deleted below is counted before
    delete from public.job_queue
    where job_queue.status in ('completed', 'failed', 'cancelled')
        and job_queue.completed_at < clock_timestamp() - p_older_than
        and job_queue.status = any (p_statuses);
    get diagnostics v_count = row_count;
    delete from public.predictions
    where predictions.created_at < clock_timestamp() - p_older_than and predictions.status <> 'running'
        and not exists (select from public.job_queue where job_queue.id = predictions.job_id);
    delete from public.idempotency_keys
    where idempotency_keys.created_at < clock_timestamp() - interval '24 hours';
    -- A failed job may be redriven, so its picture stays. The hour's grace covers a request whose picture is committed
    -- and whose job is not yet visible here: longer than any transaction of ours.
    delete from public.source_images
    where source_images.kept_at < clock_timestamp() - interval '1 hour'
        and not exists (
            select from public.job_queue
            where job_queue.status <> 'completed'
                and (
                    job_queue.payload ->> 'source_image_url' = source_images.reference
                    or strpos(job_queue.payload ->> 'input', source_images.reference) > 0
                )
        );
    return v_count;
end;
$$;

comment on function public.purge_jobs(interval, text[]) is
'Delete jobs that ended longer ago than p_older_than, with their predictions, expired idempotency keys, and source
pictures that no job can need any more; returns how many jobs. Failed jobs are kept unless p_statuses names them.';

revoke execute on function public.cancel_job(uuid, text) from public, anon, authenticated;
grant execute on function public.cancel_job(uuid, text) to service_role;
revoke execute on function public.redrive_job(uuid) from public, anon, authenticated;
grant execute on function public.redrive_job(uuid) to service_role;
revoke execute on function public.purge_jobs(interval, text[]) from public, anon, authenticated;
grant execute on function public.purge_jobs(interval, text[]) to service_role;
