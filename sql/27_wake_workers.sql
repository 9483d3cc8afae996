-- wake_workers: a hint to idle workers that there is a job. It may be lost: every worker also looks by itself.
-- Called by   enqueue_job, release_job, redrive_job, resume_queue
-- Promises    at most one notification each five milliseconds, however many jobs: each one is a lock that all
--             commits of the server share

-- When the newest hint was given, in milliseconds. A sequence, as it is read and set without a lock or a row version.
create sequence if not exists public.job_wakeups minvalue 0 start 0;
comment on sequence public.job_wakeups is 'When wake_workers last notified, in milliseconds since 1970.';

create or replace function public.wake_workers() returns void
language plpgsql
set search_path = ''
as $$
declare
    v_now bigint := extract(epoch from clock_timestamp()) * 1000;
begin
    -- Whoever commits just after somebody else's hint is found by the worker's second look, milliseconds later.
    if abs(v_now - (select last_value from public.job_wakeups)) >= 5 then -- abs: the clock may have been set back
        perform setval('public.job_wakeups', v_now);
        perform pg_notify('picture_edge_jobs', '');
    end if;
end;
$$;

comment on function public.wake_workers() is
'Have idle workers look for jobs once this transaction commits: NOTIFY picture_edge_jobs, at most each 5 ms.';

revoke all on sequence public.job_wakeups from public, anon, authenticated;
grant select, update on sequence public.job_wakeups to service_role;
revoke execute on function public.wake_workers() from public, anon, authenticated;
grant execute on function public.wake_workers() to service_role;
