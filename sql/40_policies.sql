-- Row level security and table rights: who sees and writes which rows. service_role bypasses row level security; users
-- see their own rows. Tables with a file of their own (sql/17, sql/18, sql/50) have theirs there.

alter table public.image_generations enable row level security;
alter table public.images enable row level security;
alter table public.models enable row level security;
alter table public.job_queue enable row level security;
alter table public.paused_queues enable row level security;
alter table public.cron_ticks enable row level security;
alter table public.predictions enable row level security;
alter table public.provider_limits enable row level security;
alter table public.user_quotas enable row level security;
alter table public.idempotency_keys enable row level security;

-- Default privileges: Supabase once granted everything on new tables to its API roles, now nothing. Explicit, either
-- way.
revoke all
on public.image_generations, public.images, public.models, public.job_queue, public.paused_queues, public.cron_ticks,
public.predictions, public.provider_limits, public.user_quotas, public.idempotency_keys
from public, anon, authenticated;
grant select, insert, update, delete
on public.image_generations, public.images, public.models, public.job_queue, public.paused_queues, public.cron_ticks,
public.predictions, public.provider_limits, public.user_quotas, public.idempotency_keys
to service_role;
-- Append-only ledger: service_role inserts uses and ends them, so that the service key gives no quota back either.
alter table public.quota_uses enable row level security;
revoke all on public.quota_uses from public, anon, authenticated, service_role;
revoke all on sequence public.quota_uses_id_seq from public, anon, authenticated, service_role;
grant select, insert, update (ended_at) on public.quota_uses to service_role;
grant select on public.image_generations, public.images, public.job_queue to authenticated;
grant select on public.models to anon, authenticated;
-- Two rights beyond reading. First: the original's app cancels with a plain UPDATE.
grant update (status, updated_at) on public.job_queue to authenticated;
-- Second: clients of generate-image insert the row themselves, pending, and then send its id.
grant insert (
    id, user_id, prompt, negative_prompt, model, style, width, height, steps, guidance_scale, status
)
on public.image_generations to authenticated;

drop policy if exists image_generations_select_own on public.image_generations;
create policy image_generations_select_own on public.image_generations
for select to authenticated using (user_id = (select auth.uid()));

drop policy if exists image_generations_insert_own on public.image_generations;
create policy image_generations_insert_own on public.image_generations
for insert to authenticated with check (user_id = (select auth.uid()) and status = 'pending');

drop policy if exists images_select_own on public.images;
create policy images_select_own on public.images
for select to authenticated using (user_id = (select auth.uid()));

-- A picture's owner may delete it; the file follows (sql/39_delete_pictures.sql).
grant delete on public.images to authenticated;
drop policy if exists images_delete_own on public.images;
create policy images_delete_own on public.images
for delete to authenticated using (user_id = (select auth.uid()));

drop policy if exists models_select_all on public.models;
create policy models_select_all on public.models
for select to anon, authenticated using (true);

drop policy if exists job_queue_select_own on public.job_queue;
create policy job_queue_select_own on public.job_queue
for select to authenticated using (created_by = (select auth.uid()));

-- The only transition: pending to cancelled; a job that was claimed meanwhile is not pending any more. The second
-- policy is restrictive: whatever other policies a project has, an UPDATE by a client can be no other than this.
drop policy if exists job_queue_cancel_own on public.job_queue;
create policy job_queue_cancel_own on public.job_queue
for update to authenticated using (created_by = (select auth.uid())) with check (created_by = (select auth.uid()));

drop policy if exists job_queue_cancel_only on public.job_queue;
create policy job_queue_cancel_only on public.job_queue as restrictive
for update to anon, authenticated
using (created_by = (select auth.uid()) and status = 'pending' and job_type = 'generate-image')
with check (created_by = (select auth.uid()) and status = 'cancelled');

-- service_role bypasses row level security; these policies document it in the catalogue (and for Supabase's linter).
drop policy if exists paused_queues_select_service on public.paused_queues;
create policy paused_queues_select_service on public.paused_queues for select to service_role using (true);

drop policy if exists cron_ticks_select_service on public.cron_ticks;
create policy cron_ticks_select_service on public.cron_ticks for select to service_role using (true);

drop policy if exists user_quotas_select_service on public.user_quotas;
create policy user_quotas_select_service on public.user_quotas for select to service_role using (true);

drop policy if exists quota_uses_select_service on public.quota_uses;
create policy quota_uses_select_service on public.quota_uses for select to service_role using (true);

drop policy if exists idempotency_keys_select_service on public.idempotency_keys;
create policy idempotency_keys_select_service on public.idempotency_keys for select to service_role using (true);

drop policy if exists predictions_select_service on public.predictions;
create policy predictions_select_service on public.predictions for select to service_role using (true);

drop policy if exists provider_limits_select_service on public.provider_limits;
create policy provider_limits_select_service on public.provider_limits for select to service_role using (true);

-- The field variant's own policy: service_role needs none, and as it is for all roles it shows users each other's jobs.
do $$
begin
    if exists (
        select from pg_catalog.pg_policies
        where schemaname = 'public' and tablename = 'job_queue' and policyname = 'Service role has full access'
            and roles <> '{service_role}'
    ) then
        drop policy "Service role has full access" on public.job_queue;
        raise notice 'policy "Service role has full access" on job_queue is dropped: that role passes them all';
    end if;
end;
$$;

-- Permissive policies add up: one of the original's may show users more than ours. A notice names each.
do $$
declare
    v_policy record;
begin
    for v_policy in
        select pg_policies.tablename, pg_policies.policyname
        from pg_catalog.pg_policies
        where pg_policies.schemaname = 'public' and pg_policies.roles && '{public, anon, authenticated}'
            and pg_policies.tablename in (
                'image_generations', 'images', 'models', 'job_queue', 'paused_queues', 'cron_ticks', 'predictions',
                'provider_limits', 'user_quotas', 'quota_uses', 'idempotency_keys', 'edge_secrets', 'source_images',
                'job_types'
            )
            and pg_policies.policyname not in (
                'image_generations_select_own', 'image_generations_insert_own', 'images_select_own', 'images_delete_own',
                'models_select_all', 'job_types_select_all', 'job_queue_select_own', 'job_queue_cancel_own',
                'job_queue_cancel_only'
            )
    loop
        raise notice 'policy "%" on % is not ours and stays: look at which rows it opens',
            v_policy.policyname, v_policy.tablename;
    end loop;
end;
$$;
