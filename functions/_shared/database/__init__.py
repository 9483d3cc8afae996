"""PostgreSQL: the connection pool, natural batching, what SQLSTATEs mean, and the version of sql/."""
