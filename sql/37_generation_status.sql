-- The state machine of a generation's status, for every writer, and how its job's end or revival moves it.
-- hint_generation_changed, queue_webhook: who is told of a change.
-- Promises    pending, queued, processing, downloading, completed; failed or cancelled from any of them; never
--             backwards. Terminal statuses are final, but for reopen_generation, which revives failed and cancelled
--             ones

create or replace function picture_edge.keep_generation_forward() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_order text[] := '{pending, queued, processing, downloading, completed, failed, cancelled}';
begin
    if old.status in ('completed', 'failed', 'cancelled')
        or array_position(v_order, new.status) < array_position(v_order, old.status) then
        -- A terminal status is left only in the transaction of reopen_generation.
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

comment on function picture_edge.keep_generation_forward() is
'Trigger: refuse (PT409) a status that goes backwards; keep stage and progress in step with it.';

create or replace trigger keep_generation_forward
before update of status on public.image_generations
for each row
when (old.status is distinct from new.status)
execute function picture_edge.keep_generation_forward();

create or replace function picture_edge.reopen_generation(p_generation_id uuid, p_status text default 'queued')
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

comment on function picture_edge.reopen_generation(uuid, text) is
'Take a generation out of failed or cancelled, as its job''s revival does; returns whether it was in either.';

-- The generation follows its job's end or revival in the same transaction, by whichever writer: a worker, an expired
-- lease, an operator. One trigger for the generation and the prediction, and a condition of two terms: each UPDATE
-- statement parses and plans the condition of each of its row triggers anew, for 4 to 10 µs, and a claim and a
-- completion of one job are a statement each. All else is asked in here, where plans are cached.
create or replace function picture_edge.move_generation_with_job() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_ends boolean := new.status in ('failed', 'cancelled');
    v_revived boolean := new.status = 'pending' and old.status in ('failed', 'cancelled');
    v_generation_id uuid := case
        when new.job_type in ('generate-image', 'download-image')
            -- Anything else is no generation's id: a job queued by hand with another payload fails by itself.
            and (new.payload ->> 'generation_id') ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            then (new.payload ->> 'generation_id')::uuid
    end;
begin
    if old.status = new.status or not (v_ends or v_revived) then
        return null;
    end if;
    if new.status = 'cancelled' and row_security_active('public.job_queue') then
        return null; -- a user's own cancel has follow_own_cancel instead (sql/38_own_jobs.sql)
    end if;
    if v_revived then
        if v_generation_id is not null then
            perform picture_edge.reopen_generation(
                v_generation_id, case new.job_type when 'download-image' then 'downloading' else 'queued' end
            );
        end if;
        return null;
    end if;
    if v_generation_id is not null then
        update public.image_generations
        set status = new.status,
            error_message = case
                when new.status = 'cancelled' then new.error_message
                when new.job_type = 'download-image' then 'Failed to download/store image: ' || new.error_message
                else coalesce(new.error_message, 'Image generation failed')
            end,
            updated_at = clock_timestamp()
        where image_generations.id = v_generation_id
            and image_generations.status not in ('completed', 'failed', 'cancelled');
    end if;
    -- The next poll cancels the prediction that such a job leaves behind: it is due now.
    update public.predictions set next_poll_at = clock_timestamp()
    where predictions.job_id = new.id and predictions.status = 'running';
    return null;
end;
$$;

comment on function picture_edge.move_generation_with_job() is
'Trigger: a failed or cancelled job ends its generation, and has its running prediction polled at once; a revived job
reopens its generation.';

drop trigger if exists end_generation_with_job on public.job_queue; -- an earlier one of ours, which only ended
drop function if exists public.end_generation_with_job();
drop trigger if exists poll_ended_job on public.job_queue; -- another, in which the prediction had a trigger of its own
drop function if exists picture_edge.poll_ended_job();

create or replace trigger move_generation_with_job
after update of status on public.job_queue
for each row
when (new.status in ('failed', 'cancelled') or old.completed_at is not null)
execute function picture_edge.move_generation_with_job();

create or replace function picture_edge.report_progress(p_generation_ids uuid[], p_stages text[], p_progress int[])
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
        -- Skip locked: complete_jobs locks generations in the order of their jobs. A progress that is left out comes with
        -- the next poll, and a statement that waits for nobody is in no deadlock.
        for update of image_generations skip locked
    )
    update public.image_generations
    set stage = moved.stage, progress = moved.progress, updated_at = clock_timestamp()
    from moved
    where image_generations.id = moved.id;
$$;

comment on function picture_edge.report_progress(uuid[], text[], int[]) is
'Write the provider''s progress of generations in processing; progress never goes back within an attempt.';

-- The newest hint's time, in milliseconds; a sequence for the reasons of job_wakeups.
create sequence if not exists picture_edge.generation_hints minvalue 0 start 0;
comment on sequence picture_edge.generation_hints is
'When hint_generation_changed last notified, in milliseconds since 1970.';

create or replace function picture_edge.hint_generation_changed() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_now bigint := extract(epoch from clock_timestamp()) * 1000;
    v_throttled boolean := case
        when has_schema_privilege('picture_edge', 'usage')
            then has_sequence_privilege('picture_edge.generation_hints', 'update')
        else false
    end;
begin
    if not v_throttled then -- a client whose project lets it update its own rows: it may not use the sequence
        perform pg_notify('picture_edge_generations', '');
    elsif abs(v_now - (select last_value from picture_edge.generation_hints)) >= 50 then
        perform setval('picture_edge.generation_hints', v_now);
        perform pg_notify('picture_edge_generations', '');
    end if;
    return null;
end;
$$;

comment on function picture_edge.hint_generation_changed() is
'Trigger: throttled NOTIFY picture_edge_generations, at most each 50 ms, so that open event streams look for changes.';

create or replace trigger hint_generation_changed
after update on public.image_generations
for each statement
execute function picture_edge.hint_generation_changed();

create or replace function picture_edge.queue_webhook() returns trigger
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

comment on function picture_edge.queue_webhook() is
'Trigger: queue the call of a generation''s webhook_url in the transaction that ends the generation.';

create or replace trigger queue_webhook
after update of status on public.image_generations
for each row
when (
    new.webhook_url is not null and old.status is distinct from new.status
    and new.status in ('completed', 'failed', 'cancelled')
)
execute function picture_edge.queue_webhook();

revoke all on sequence picture_edge.generation_hints from public, anon, authenticated;
grant select, update on sequence picture_edge.generation_hints to service_role;
revoke execute on function picture_edge.report_progress(uuid[], text[], int[]) from public, anon, authenticated;
grant execute on function picture_edge.report_progress(uuid[], text[], int[]) to service_role;
revoke execute on function picture_edge.hint_generation_changed() from public, anon, authenticated;
revoke execute on function picture_edge.queue_webhook() from public, anon, authenticated;
revoke execute on function picture_edge.keep_generation_forward() from public, anon, authenticated;
revoke execute on function picture_edge.reopen_generation(uuid, text) from public, anon, authenticated;
grant execute on function picture_edge.reopen_generation(uuid, text) to service_role;
revoke execute on function picture_edge.move_generation_with_job() from public, anon, authenticated;
