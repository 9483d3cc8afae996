-- The schema picture_edge: triggers, helpers and the worker's own calls. What clients and operators call is in public.
-- Used by     service_role and the owner; roles that were granted a function in it by name (sql/43_kept_rights.sql)
-- Promises    anon and authenticated have no usage: \df shows operators the public API only, and PostgREST, which
--             exposes public, serves no internal. A function that runs with a client's rights names nothing in here.

create schema if not exists picture_edge;
comment on schema picture_edge is
'Internals of the queue and of generations: triggers, helpers, the worker''s calls. Not an API, and not to be served by
PostgREST.';
revoke all on schema picture_edge from public, anon, authenticated;
grant usage on schema picture_edge to service_role;
