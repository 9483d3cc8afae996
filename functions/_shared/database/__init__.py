"""The connection pool, natural batching over it, and what PostgreSQL's SQLSTATEs mean to us."""
