"""Stand-ins for pg_cron and pg_net, for databases without them: SQL schemas and a process."""
