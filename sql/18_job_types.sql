-- job_types: what the queue has to know of a job type beside its name. A type without a row is an ordinary one.
-- Read by     claim_jobs, claim_suspect, provider_allowance
-- A new job type that pays a provider is one row here: its claims then share that provider's limits.

create table if not exists public.job_types (
    job_type text primary key,
    provider text
);

comment on table public.job_types is
'Job types that need more than a handler. Types without a row are claimed without any limit.';
comment on column public.job_types.job_type is 'As in job_queue.job_type.';
comment on column public.job_types.provider is
'The provider whose limits (provider_limits) each job of the type spends; null for none.';

insert into public.job_types (job_type, provider) values ('generate-image', 'replicate')
on conflict (job_type) do nothing;

alter table public.job_types enable row level security;
revoke all on public.job_types from public, anon, authenticated;
grant select, insert, update, delete on public.job_types to service_role;
drop policy if exists job_types_select_all on public.job_types;
-- claim_jobs reads it with its caller's rights, a role of the project's own included (sql/43_kept_rights.sql).
create policy job_types_select_all on public.job_types for select to public using (true);
