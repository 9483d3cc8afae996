-- How a generation's status may move, whoever writes it, and how its job's end or revival moves it.
-- hint_generation_changed, queue_webhook: who hears of it.
-- Promises    pending, queued, processing, downloading, completed; failed or cancelled from any of them, once; back
--             only by reopen_generation

create or replace function public.keep_generation_forward() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_order text[] := '{pending, queued, processing, downloading, completed, failed, cancelled}';
begin
    if old.status in ('completed', 'failed', 'cancelled')
        or array_position(v_order, new.status) < array_position(v_order, old.status) then
        -- An ended generation goes on only in the transaction that reopened it.
        if current_setting('picture_edge.reopened', true) is distinct from old.id::text
            or old.status = 'completed' then
            raise exception using
                errcode = 'PT409',
                message = format('Generation %s cannot go from %s to %s', old.id, old.status, new.status);
        end if;
    end if;
    new.stage := case new.status when 'processing' then 'starting' when 'downloading' then 'storing' else new.status end;
    new.progress := case new.status
        when 'queued' then 0 when 'processing' then 0 when 'downloading' then 95 when 'completed' then 100
        else old.progress
    end;
    return new;
end;
$$;

comment on function public.keep_generation_forward() is
'Trigger: refuse (PT409) a status that goes backwards; keep stage and progress in step with it.';

create or replace trigger keep_generation_forward
before update of status on public.image_generations
for each row
when (old.status is distinct from new.status)
execute function public.keep_generation_forward();

create or replace function public.reopen_generation(p_generation_id uuid, p_status text default 'queued')
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_reopened boolean;
begin
    perform set_config('picture_edge.reopened', p_generation_id::text, true);
    update public.image_generations
    set status = p_status, error_message = null, completed_at = null, updated_at = clock_timestamp()
    where image_generations.id = p_generation_id and image_generations.status in ('failed', 'cancelled');
    v_reopened := found;
    perform set_config('picture_edge.reopened', '', true);
    return v_reopened;
end;
$$;

comment on function public.reopen_generation(uuid, text) is
'Take a generation out of failed or cancelled, as its job''s revival does; whether it was there.';

-- Whoever ends or revives the job (its worker, an expired lease, a person), the generation follows in the same commit.
create or replace function public.move_generation_with_job() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if not (new.payload ->> 'generation_id') ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        return null; -- a job queued by hand with some other payload fails by itself
    end if;
    if new.status = 'pending' then
        perform public.reopen_generation(
            (new.payload ->> 'generation_id')::uuid,
            case new.job_type when 'download-image' then 'downloading' else 'queued' end
        );
        return null;
    end if;
    update public.image_generations
    set status = new.status,
        error_message = case
            when new.status = 'cancelled' then new.error_message
            when new.job_type = 'download-image' then 'Failed to download/store image: ' || new.error_message
            else coalesce(new.error_message, 'Image generation failed')
        end,
        updated_at = clock_timestamp()
    where image_generations.id = (new.payload ->> 'generation_id')::uuid
        and image_generations.status not in ('completed', 'failed', 'cancelled');
    return null;
end;
$$;

comment on function public.move_generation_with_job() is
'Trigger: a failed or cancelled job ends its generation, a revived one reopens it.';

drop trigger if exists end_generation_with_job on public.job_queue; -- an earlier one of ours, which only ended
drop function if exists public.end_generation_with_job();

create or replace trigger move_generation_with_job
after update of status on public.job_queue
for each row
when (
    old.status is distinct from new.status and new.job_type in ('generate-image', 'download-image')
    and (
        new.status in ('failed', 'cancelled')
        or (new.status = 'pending' and old.status in ('failed', 'cancelled'))
    )
    -- A user's own cancel has follow_own_cancel instead (sql/34_own_jobs.sql).
    and not (new.status = 'cancelled' and row_security_active('public.job_queue'))
)
execute function public.move_generation_with_job();

create or replace function public.report_progress(p_generation_ids uuid[], p_stages text[], p_progress int[])
returns void
language sql
set search_path = ''
as $$
    with moved as materialized (
        select image_generations.id, report.stage, greatest(image_generations.progress, report.progress) as progress
        from unnest(p_generation_ids, p_stages, p_progress) as report (generation_id, stage, progress)
        inner join public.image_generations on image_generations.id = report.generation_id
        where image_generations.status = 'processing'
            and (image_generations.stage is distinct from report.stage or image_generations.progress < report.progress)
        order by image_generations.id -- one order for all who lock several: no deadlock
        for update of image_generations
    )
    update public.image_generations
    set stage = moved.stage, progress = moved.progress, updated_at = clock_timestamp()
    from moved
    where image_generations.id = moved.id;
$$;

comment on function public.report_progress(uuid[], text[], int[]) is
'Note how far the provider is with generations that are being processed.';

-- When the newest hint was given, in milliseconds; a sequence for the reasons of job_wakeups.
create sequence if not exists public.generation_hints minvalue 0 start 0;
comment on sequence public.generation_hints is
'When hint_generation_changed last notified, in milliseconds since 1970.';

create or replace function public.hint_generation_changed() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_now bigint := extract(epoch from clock_timestamp()) * 1000;
begin
    if abs(v_now - (select last_value from public.generation_hints)) >= 50 then
        perform setval('public.generation_hints', v_now);
        perform pg_notify('picture_edge_generations', '');
    end if;
    return null;
end;
$$;

comment on function public.hint_generation_changed() is
'Trigger: NOTIFY picture_edge_generations, at most each 50 ms, so that open event streams look for what has changed.';

create or replace trigger hint_generation_changed
after update on public.image_generations
for each statement
execute function public.hint_generation_changed();

create or replace function public.queue_webhook() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    perform public.enqueue_job(
        'send-webhook',
        jsonb_build_object(
            'generation_id', new.id, 'webhook_url', new.webhook_url, 'type', 'generation.' || new.status,
            'timestamp', clock_timestamp()
        ),
        p_max_attempts => 10,
        p_created_by => new.user_id
    );
    return null;
end;
$$;

comment on function public.queue_webhook() is
'Trigger: queue the call of a generation''s webhook_url in the transaction that ends the generation.';

create or replace trigger queue_webhook
after update of status on public.image_generations
for each row
when (
    new.webhook_url is not null and old.status is distinct from new.status
    and new.status in ('completed', 'failed', 'cancelled')
)
execute function public.queue_webhook();

revoke all on sequence public.generation_hints from public, anon, authenticated;
grant select, update on sequence public.generation_hints to service_role;
revoke execute on function public.report_progress(uuid[], text[], int[]) from public, anon, authenticated;
grant execute on function public.report_progress(uuid[], text[], int[]) to service_role;
revoke execute on function public.hint_generation_changed() from public, anon, authenticated;
revoke execute on function public.queue_webhook() from public, anon, authenticated;
revoke execute on function public.keep_generation_forward() from public, anon, authenticated;
revoke execute on function public.reopen_generation(uuid, text) from public, anon, authenticated;
grant execute on function public.reopen_generation(uuid, text) to service_role;
revoke execute on function public.move_generation_with_job() from public, anon, authenticated;
