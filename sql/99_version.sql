-- picture_edge.version: the number of this sql/. Raise it with each change: tests/sql/test_version.py says how.
-- Called by   the gateway at its start, /ready, process-jobs-test: an older or newer number than the code's is an error
-- Promises    the last file, so that a database in which an earlier file has failed keeps its former number. A database
--             from before there was a number lacks the function.

create or replace function picture_edge.version() returns int
language sql
immutable
set search_path = ''
as $$ select 6 $$;

comment on function picture_edge.version() is 'Which sql/ was applied to this database: a number raised by each
change.';

revoke execute on function picture_edge.version() from public, anon, authenticated;
grant execute on function picture_edge.version() to service_role;
