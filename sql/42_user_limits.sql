-- get_user_limits: what a user may still generate.
-- Called by   clients' servers as service_role

create or replace function public.get_user_limits(p_user_id uuid) returns jsonb
language sql
stable
set search_path = ''
as $$
    select jsonb_build_object(
        'can_generate', true, -- no limit is set for anybody
        'daily_limit', null,
        'daily_used', count(*),
        'hourly_limit', null,
        'hourly_used', count(*) filter (where image_generations.created_at > now() - interval '1 hour')
    )
    from public.image_generations
    where image_generations.user_id = p_user_id and image_generations.created_at > now() - interval '24 hours';
$$;

comment on function public.get_user_limits(uuid) is
'A user''s generations of the last hour and 24 hours beside their limits: {"can_generate", "daily_limit", "daily_used",
"hourly_limit", "hourly_used"}. A limit of null is none.';

revoke execute on function public.get_user_limits(uuid) from public, anon, authenticated;
grant execute on function public.get_user_limits(uuid) to service_role;
