"""Other projects' programs that do the same work on the same PostgreSQL: Deno, and job queues; see README.md."""
