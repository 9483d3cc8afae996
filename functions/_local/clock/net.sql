-- Stand-in for pg_net 0.20: schema net with its functions, types, tables, defaults and errors. Re-runnable.
-- Served by   functions/_local/clock/sender.py; installed by install.py, and never beside the real extension
-- Differs     README.md has the table
-- search_path explicit, with pg_temp last (search_path injection): unless named, pg_temp comes first for types and
--             tables, with an empty path too, and the CHECK of a caller's domain pg_temp.text would run with a
--             definer's rights.

set local search_path = pg_catalog, pg_temp;

create schema if not exists net;
comment on schema net is 'Stand-in for pg_net: requests sent by python -m functions._local.clock.';

do $$
begin
    if to_regtype('net.http_method') is null then
        create domain net.http_method as text check (value ilike 'get' or value ilike 'post' or value ilike 'delete');
        create type net.request_status as enum ('PENDING', 'SUCCESS', 'ERROR');
        create type net.http_response as (status_code int, headers jsonb, body text);
        create type net.http_response_result as (status net.request_status, message text, response net.http_response);
    end if;
end;
$$;

create unlogged table if not exists net.http_request_queue (
    id bigserial,
    method net.http_method not null,
    url text not null,
    headers jsonb,
    body bytea,
    timeout_milliseconds int not null
);
comment on table net.http_request_queue is 'Outgoing requests. Unlogged: lost in a crash of the server.';
comment on column net.http_request_queue.id is 'The id that http_get, http_post and http_delete return.';
comment on column net.http_request_queue.method is 'GET, POST or DELETE.';
comment on column net.http_request_queue.url is 'The address with its parameters.';
comment on column net.http_request_queue.headers is 'Headers as given, secrets included.';
comment on column net.http_request_queue.body is 'Bytes to send; null for none.';
comment on column net.http_request_queue.timeout_milliseconds is 'Time-out of the request, 1 to 600000.';

create unlogged table if not exists net._http_response (
    id bigint,
    status_code int,
    content_type text,
    headers jsonb,
    content text,
    timed_out bool,
    error_msg text,
    created timestamptz not null default now()
);
create index if not exists _http_response_created_idx on net._http_response (created);
comment on table net._http_response is 'Responses in the order of their arrival, kept for pg_net.ttl (6 hours).';
comment on column net._http_response.id is 'The request''s id.';
comment on column net._http_response.status_code is 'HTTP status; null without a response.';
comment on column net._http_response.content_type is 'The response''s Content-Type.';
comment on column net._http_response.headers is 'The response''s headers; of a redirect the first response''s.';
comment on column net._http_response.content is 'The response''s body as text; null when empty.';
comment on column net._http_response.timed_out is 'Whether timeout_milliseconds passed.';
comment on column net._http_response.error_msg is 'Why there is no response.';
comment on column net._http_response.created is 'About when the request was sent.';

revoke all on net.http_request_queue, net._http_response, net.http_request_queue_id_seq from public;
alter table net.http_request_queue enable row level security;
alter table net._http_response enable row level security;

create or replace function net._urlencode_string(string varchar) returns text
language sql immutable strict set search_path = pg_catalog, pg_temp
as $$
    select coalesce(string_agg(
        case when letter ~ '^[A-Za-z0-9~._-]$' then letter
            else regexp_replace(upper(encode(convert_to(letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
        end, '' order by place
    ), '')
    from regexp_split_to_table(string, '') with ordinality as letters (letter, place)
    where letter <> '';
$$;
comment on function net._urlencode_string(varchar) is 'Percent-encode everything but unreserved characters.';

create or replace function net._encode_url_with_params_array(url text, params_array text[]) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp
as $$
declare
    v_scheme text := lower(substring(url from '^([A-Za-z][A-Za-z0-9+.-]*)://'));
    v_rest text := substring(url from '^[A-Za-z][A-Za-z0-9+.-]*://([^#]*)');
    v_fragment text := coalesce(substring(url from '(#.*)$'), '');
begin
    if v_scheme is null then
        raise exception using errcode = 'XX000', message = format('invalid URL "%s": Bad scheme', url);
    end if;
    if v_scheme not in ('http', 'https', 'ftp', 'ftps', 'file') then
        raise exception using errcode = 'XX000', message = format('invalid URL "%s": Unsupported URL scheme', url);
    end if;
    if v_rest ~ '\s' then
        raise exception using errcode = 'XX000', message = format('invalid URL "%s": Bad path', url);
    end if;
    if v_rest ~ '^([/?]|$)' and v_scheme <> 'file' then
        raise exception using errcode = 'XX000', message = format('invalid URL "%s": No host part in the URL', url);
    end if;
    v_rest := regexp_replace(v_rest, '^([^/?]+)(\?|$)', '\1/\2');
    if cardinality(params_array) > 0 then
        v_rest := v_rest || case when v_rest ~ '\?' then '&' else '?' end || array_to_string(params_array, '&');
    end if;
    return v_scheme || '://' || v_rest || v_fragment;
end;
$$;
comment on function net._encode_url_with_params_array(text, text[]) is
'Append key=value parameters to a URL; an invalid URL is refused.';

create or replace function net.wake() returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select pg_notify('net', ''); $$;
comment on function net.wake() is 'Have the clock look at the queue when this transaction commits.';

create or replace function net._enqueue(
    method text, url text, params jsonb, headers jsonb, body bytea, timeout_milliseconds int
) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
    values (
        $1,
        net._encode_url_with_params_array($2, array(
            select net._urlencode_string(key) || '=' || net._urlencode_string(value)
            from jsonb_each_text($3) where value is not null
        )),
        $4, $5, $6
    )
    returning id into v_id;
    perform net.wake();
    return v_id;
end;
$$;
comment on function net._enqueue(text, text, jsonb, jsonb, bytea, int) is
'The stand-in''s own: the common part of http_get, http_post and http_delete.';

create or replace function net.http_get(
    url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds int default 5000
) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select net._enqueue('GET', url, params, headers, null, timeout_milliseconds); $$;
comment on function net.http_get(text, jsonb, jsonb, int) is 'Queue a GET; sent when the transaction has committed.';

create or replace function net.http_post(
    url text, body jsonb default '{}', params jsonb default '{}',
    headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds int default 5000
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := (
        select given.value from jsonb_each_text(headers) as given where lower(given.key) = 'content-type' limit 1
    );
begin
    if v_type <> 'application/json' then
        raise exception using errcode = 'P0001', message = 'Content-Type header must be "application/json"';
    end if;
    return net._enqueue(
        'POST', url, params,
        case when v_type is null then headers || '{"Content-Type": "application/json"}' else headers end,
        convert_to(body::text, 'UTF8'), timeout_milliseconds
    );
end;
$$;
comment on function net.http_post(text, jsonb, jsonb, jsonb, int) is
'Queue a POST of a JSON body; sent when the transaction has committed.';

create or replace function net.http_delete(
    url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds int default 5000,
    body jsonb default null
) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select net._enqueue('DELETE', url, params, headers, convert_to(body::text, 'UTF8'), timeout_milliseconds); $$;
comment on function net.http_delete(text, jsonb, jsonb, int, jsonb) is
'Queue a DELETE; sent when the transaction has committed.';

create or replace function net._take(p_limit int) returns setof net.http_request_queue
language sql set search_path = pg_catalog, pg_temp
as $$
    delete from net.http_request_queue where id in (
        select id from net.http_request_queue order by id limit p_limit for update skip locked
    ) returning *;
$$;
comment on function net._take(int) is
'The stand-in''s own: take the next requests to send. Absent in pg_net, so that a clock never takes from a real queue.';

create or replace function net._await_response(request_id bigint) returns bool
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    for i in 1..12600 loop -- longer than the longest time-out
        if exists (select from net._http_response where id = request_id) then
            return true;
        end if;
        perform pg_sleep(0.05);
    end loop;
    return false;
end;
$$;
comment on function net._await_response(bigint) is 'Wait for a response; false when none came in time.';

create or replace function net._http_collect_response(request_id bigint, async bool default true)
returns net.http_response_result
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_row net._http_response;
begin
    if not async then
        perform net._await_response(request_id);
    end if;
    select * into v_row from net._http_response where id = request_id;
    if v_row.id is null or v_row.error_msg is not null then
        return (
            'ERROR', coalesce(v_row.error_msg, 'request matching request_id not found'), null
        )::net.http_response_result;
    end if;
    return (
        'SUCCESS', 'ok', (v_row.status_code, v_row.headers, v_row.content)::net.http_response
    )::net.http_response_result;
end;
$$;
comment on function net._http_collect_response(bigint, bool) is
'The response of a request, or that there is none (yet).';

create or replace function net.http_collect_response(request_id bigint, async bool default true)
returns net.http_response_result
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    raise notice 'The net.http_collect_response function is deprecated.';
    return net._http_collect_response(request_id, async);
end;
$$;
comment on function net.http_collect_response(bigint, bool) is 'As _http_collect_response, with a notice.';

create or replace function net.check_worker_is_up() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_catalog.pg_stat_activity where application_name like 'pg_net %') then
        raise exception using errcode = 'P0001', message = 'the pg_net background worker is not up';
    end if;
end;
$$;
comment on function net.check_worker_is_up() is 'Raise when no clock serves this database''s requests.';

create or replace function net.worker_restart() returns bool
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select pg_notify('net', 'restart') is not null; $$;
comment on function net.worker_restart() is 'Have the clock read its settings again.';

create or replace function net.wait_until_running() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    while not exists (select from pg_catalog.pg_stat_activity where application_name like 'pg_net %') loop
        perform pg_sleep(0.05);
        perform pg_stat_clear_snapshot();
    end loop;
end;
$$;
comment on function net.wait_until_running() is 'Return once a clock serves requests.';

revoke execute on function net._enqueue(text, text, jsonb, jsonb, bytea, int), net._take(int) from public;
