-- How a generation's status may move, whoever writes it, and how its job's end or revival moves it.
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
    return new;
end;
$$;

comment on function public.keep_generation_forward() is 'Trigger: refuse (PT409) a status that goes backwards.';

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
)
execute function public.move_generation_with_job();

revoke execute on function public.keep_generation_forward() from public, anon, authenticated;
revoke execute on function public.reopen_generation(uuid, text) from public, anon, authenticated;
grant execute on function public.reopen_generation(uuid, text) to service_role;
revoke execute on function public.move_generation_with_job() from public, anon, authenticated;
