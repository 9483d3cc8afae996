-- failure_groups: the newest failures, grouped by what failed. error_pattern: an error's text without its numbers.
-- Called by   operators
-- Promises    reads only, a bounded part of the queue; each group's pattern is one for redrive_failed, whose dry run
--             has the last word on how many it matches

create or replace function picture_edge.error_pattern(p_text text) returns text
language sql
immutable
set search_path = ''
as $$
    -- Of a long text the begin: its end may be cut in the middle of a number. Wildcards of LIKE in the text itself are
    -- escaped. A status of three digits in brackets or after HTTP tells kinds of failures apart, and is kept. A line's
    -- end would not survive an HTML form, which sends CR LF.
    select regexp_replace(
        regexp_replace(left(p_text, 200), '([\\%_])', '\\\1', 'g'),
        '\s*[\r\n]\s*|https?://[^\s"'']+'
        '|(?<!\((?=[0-9]{3}\M)|HTTP (?=[0-9]{3}\M))\m[[:alnum:]-]*[0-9][[:alnum:].:+-]*',
        '%', 'g'
    ) || case when length(p_text) > 200 then '%' else '' end;
$$;

comment on function picture_edge.error_pattern(text) is
'A pattern of LIKE for an error''s text: addresses, words with a digit and ends of lines are %; of a long text the
first 200 characters.';

create or replace function public.failure_groups(
    p_since timestamptz default now() - interval '24 hours',
    p_until timestamptz default now(),
    p_newest int default 2000
) returns table (
    class text, job_type text, error_like text, jobs bigint, first_at timestamptz, last_at timestamptz, example text,
    example_id uuid
)
language sql
stable
set search_path = ''
as $$
    select
        mode() within group (order by newest.class) as class,
        newest.job_type,
        newest.error_like,
        count(*) as jobs,
        min(newest.completed_at) as first_at,
        max(newest.completed_at) as last_at,
        (array_agg(newest.error_message order by newest.completed_at desc))[1] as example,
        (array_agg(newest.id order by newest.completed_at desc))[1] as example_id
    from (
        select
            job_queue.id,
            job_queue.job_type,
            job_queue.completed_at,
            job_queue.error_message,
            coalesce(job_queue.errors #>> '{-1, class}', 'unknown') as class,
            picture_edge.error_pattern(job_queue.error_message) as error_like
        from public.job_queue
        where job_queue.status = 'failed' and job_queue.completed_at >= p_since and job_queue.completed_at < p_until
        order by job_queue.completed_at desc, job_queue.id desc
        limit greatest(p_newest, 0)
    ) as newest
    group by newest.job_type, newest.error_like
    order by jobs desc, last_at desc, newest.job_type, newest.error_like
$$;

comment on function public.failure_groups(timestamptz, timestamptz, int) is
'The newest p_newest jobs that failed from p_since to before p_until, grouped by type and text; class: the most frequent
one of their last errors. error_like is the p_error_like of redrive_failed that redrives the group; null: no text.';

revoke execute on function picture_edge.error_pattern(text) from public, anon, authenticated;
grant execute on function picture_edge.error_pattern(text) to service_role;
revoke execute on function public.failure_groups(timestamptz, timestamptz, int) from public, anon, authenticated;
grant execute on function public.failure_groups(timestamptz, timestamptz, int) to service_role;
