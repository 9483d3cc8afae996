"""Stand-ins for pg_cron and pg_net, where a database has neither: their schemas, and the process that serves them."""
