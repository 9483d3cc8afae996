"""/rest/v1: PostgREST's API on the one PostgreSQL."""
