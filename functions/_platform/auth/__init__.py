"""/auth/v1: GoTrue's API on the one PostgreSQL."""
