-- get_user_limits: what a user may still generate, by the same rule as check_quota.
-- Called by   clients' servers as service_role

create or replace function public.get_user_limits(p_user_id uuid) returns jsonb
language sql
stable
set search_path = ''
as $$
    select
        jsonb_build_object('can_generate', not coalesce(bool_or(quota_use.used >= quota_use.quota), false))
        || jsonb_object_agg(quota_use.name || '_limit', quota_use.quota)
        || jsonb_object_agg(quota_use.name || '_used', quota_use.used)
    from picture_edge.quota_use(p_user_id) as quota_use;
$$;

comment on function public.get_user_limits(uuid) is
'A user''s uses of the last hour and 24 hours (quota_uses), and those under way, beside their limits: {"can_generate",
"daily_limit", "daily_used", "hourly_limit", "hourly_used", "running_limit", "running_used"}. A limit of null is none.';

revoke execute on function public.get_user_limits(uuid) from public, anon, authenticated;
grant execute on function public.get_user_limits(uuid) to service_role;
