-- job_types: what the queue has to know of a job type beside its name. A type without a row is an ordinary one.
-- nearest_name, notice_unknown_type: a NOTICE for a name that nothing has: it may be mistyped.
-- Read by     claim_jobs, claim_suspect, provider_allowance; operators' commands, by notice_unknown_type
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

insert into public.job_types (job_type, provider)
values ('generate-image', 'replicate'), ('download-image', null), ('send-webhook', null), ('cleanup-storage', null)
on conflict (job_type) do nothing;

create or replace function picture_edge.nearest_name(p_name text, p_names text[], p_least numeric default 0.5)
returns text
language sql
immutable
set search_path = ''
as $$
    -- Dice coefficient of the pairs of letters; case, hyphens and underscores do not count.
    with folded as (
        select given.name, '^' || regexp_replace(lower(given.name), '[^a-z0-9]', '', 'g') || '$' as letters
        from unnest(array_append(p_names, p_name)) as given (name)
    ),
    pairs as (
        select folded.name, array_agg(distinct substr(folded.letters, places.place, 2)) as found
        from folded
        cross join lateral generate_series(1, length(folded.letters) - 1) as places (place)
        group by folded.name
    ),
    scores as (
        select
            known.name,
            2.0 * (select count(*) from unnest(known.found) as pair where pair = any (asked.found))
            / (cardinality(asked.found) + cardinality(known.found)) as score
        from pairs as asked
        inner join pairs as known on known.name <> asked.name
        where asked.name = p_name
    )
    select scores.name from scores where scores.score >= p_least
    order by scores.score desc, scores.name
    limit 1;
$$;

comment on function picture_edge.nearest_name(text, text[], numeric) is
'The one of p_names that p_name most resembles, from 0 (nothing) to 1 (but for case, hyphens and underscores the same);
null where none reaches p_least.';

create or replace function picture_edge.notice_unknown_type(p_job_type text) returns void
language plpgsql
set search_path = ''
as $$
begin
    if exists (select from public.job_types where job_types.job_type = p_job_type)
        or exists (select from public.job_queue where job_queue.job_type = p_job_type) then
        return;
    end if;
    raise notice 'No job of type % was ever queued%', p_job_type, coalesce(
        '; perhaps ' || picture_edge.nearest_name(p_job_type, array(select job_types.job_type from public.job_types)),
        ''
    );
end;
$$;

comment on function picture_edge.notice_unknown_type(text) is
'Raise a NOTICE, with the nearest known type, for a job type that no job and no row of job_types has.';

revoke execute on function picture_edge.nearest_name(text, text[], numeric) from public, anon, authenticated;
grant execute on function picture_edge.nearest_name(text, text[], numeric) to service_role;
revoke execute on function picture_edge.notice_unknown_type(text) from public, anon, authenticated;
grant execute on function picture_edge.notice_unknown_type(text) to service_role;

alter table public.job_types enable row level security;
revoke all on public.job_types from public, anon, authenticated;
grant select, insert, update, delete on public.job_types to service_role;
drop policy if exists job_types_select_all on public.job_types;
-- claim_jobs reads it with its caller's rights, a role of the project's own included (sql/43_kept_rights.sql).
create policy job_types_select_all on public.job_types for select to public using (true);
