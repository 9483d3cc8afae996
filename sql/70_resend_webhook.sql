-- resend_webhook: send a webhook once more.
-- Called by   operators
-- Promises    a webhook that waits or runs is left alone, so that a receiver never gets two at once

create or replace function public.resend_webhook(p_job_id uuid) returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_job public.job_queue := picture_edge.held_job(p_job_id, null);
    v_sent uuid := p_job_id;
begin
    if v_job.job_type <> 'send-webhook' then
        raise exception using
            errcode = 'PT409', message = format('Job %s is a %s: it sends no webhook', p_job_id, v_job.job_type);
    end if;
    perform picture_edge.begin_operation('resend_webhook');
    case
        when v_job.status = 'completed' then
            v_sent := public.enqueue_job(
                'send-webhook', v_job.payload, p_max_attempts => v_job.max_attempts, p_created_by => v_job.created_by
            );
            raise notice 'It is sent again, with the new webhook-id %', v_sent;
        when public.redrive_job(p_job_id) then
            raise notice 'It is sent again, with the same webhook-id';
        else
            raise notice 'Nothing done: it waits or is being sent';
            v_sent := null;
    end case;
    perform picture_edge.log_operation(
        'resend_webhook', jsonb_build_object('id', p_job_id), (v_sent is not null)::int
    );
    return v_sent;
end;
$$;

comment on function public.resend_webhook(uuid) is
'Send a webhook again, by the id of its job: one that failed or was cancelled as the same job, and so with the same
webhook-id; a delivered one as a new job, which its receiver takes for a new event. Returns the job''s id; null for one
that waits or runs. Another job: PT409. Unknown: PT404.';

revoke execute on function public.resend_webhook(uuid) from public, anon, authenticated;
grant execute on function public.resend_webhook(uuid) to service_role;
