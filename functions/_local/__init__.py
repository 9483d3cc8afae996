"""Stand-ins for one machine: pg_cron and pg_net (clock), Replicate (sandbox), default settings."""
