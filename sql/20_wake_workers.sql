-- wake_workers: throttled NOTIFY, a hint to idle workers that there is a job. It may be lost: workers also poll.
-- Called by   enqueue_job, release_job, redrive_job, resume_queue, set_provider_limit
-- Promises    at most one notification each 5 ms, however many jobs: a NOTIFY takes a server-wide lock at commit, so
--             one per enqueue would serialise all commits

-- The newest hint's time, in milliseconds. A sequence: it is read and set without a row lock or a row version.
create sequence if not exists picture_edge.job_wakeups minvalue 0 start 0;
comment on sequence picture_edge.job_wakeups is 'When wake_workers last notified, in milliseconds since 1970.';

create or replace function picture_edge.wake_workers() returns void
language plpgsql
set search_path = ''
as $$
declare
    v_now bigint := extract(epoch from clock_timestamp()) * 1000;
begin
    -- A job committed just after another transaction's hint is found by the worker's second look, milliseconds later.
    if abs(v_now - (select last_value from picture_edge.job_wakeups)) >= 5 then -- abs: the clock may be set back
        perform setval('picture_edge.job_wakeups', v_now);
        perform pg_notify('picture_edge_jobs', '');
    end if;
end;
$$;

comment on function picture_edge.wake_workers() is
'Have idle workers look for jobs once this transaction commits: NOTIFY picture_edge_jobs, at most each 5 ms.';

revoke all on sequence picture_edge.job_wakeups from public, anon, authenticated;
grant select, update on sequence picture_edge.job_wakeups to service_role;
revoke execute on function picture_edge.wake_workers() from public, anon, authenticated;
grant execute on function picture_edge.wake_workers() to service_role;
