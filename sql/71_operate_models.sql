-- set_model_active: switch a model off, and on again. try_model: a picture for an operator, to see what a model does.
-- Called by   operators

create or replace function public.set_model_active(p_model text, p_is_active boolean) returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_was boolean;
begin
    if p_is_active is null then
        raise exception using errcode = 'PT400', message = 'p_is_active must be true or false';
    end if;
    select models.is_active into v_was from public.models where models.replicate_id = p_model for update;
    if not found then
        raise notice 'No model has the id %', coalesce(p_model, 'null') || coalesce(
            '; perhaps ' || picture_edge.nearest_name(p_model, array(select models.replicate_id from public.models)), ''
        );
        return false;
    end if;
    -- Switched on by hand: the reason for which it was switched off automatically is no longer so.
    update public.models
    set is_active = p_is_active, retired_reason = case when not p_is_active then models.retired_reason end
    where models.replicate_id = p_model;
    raise notice '% is % within 30 seconds', p_model, case when p_is_active then 'offered' else 'refused' end;
    perform picture_edge.log_operation(
        'set_model_active', jsonb_build_object('model', p_model, 'is_active', p_is_active)
    );
    return v_was is distinct from p_is_active;
end;
$$;

comment on function public.set_model_active(text, boolean) is
'Offer a model, or refuse it: what is queued already runs. Returns whether that changed anything. A name that no model
has: a NOTICE with the nearest.';

create or replace function picture_edge.try_model(p_user_id uuid, p_request jsonb) returns uuid
language plpgsql
set search_path = ''
as $$
declare
    v_generation_id uuid;
begin
    select started.generation_id into strict v_generation_id
    from picture_edge.start_generations(p_user_ids => array[p_user_id], p_requests => array[p_request]) as started;
    perform picture_edge.log_operation(
        'try_model', jsonb_build_object('model', p_request ->> 'model_id', 'generation_id', v_generation_id), 1
    );
    return v_generation_id;
end;
$$;

comment on function picture_edge.try_model(uuid, jsonb) is
'Start a generation for an operator; p_request as start-generation has validated it. Quotas and budgets hold.';

revoke execute on function public.set_model_active(text, boolean) from public, anon, authenticated;
grant execute on function public.set_model_active(text, boolean) to service_role;
revoke execute on function picture_edge.try_model(uuid, jsonb) from public, anon, authenticated;
grant execute on function picture_edge.try_model(uuid, jsonb) to service_role;
