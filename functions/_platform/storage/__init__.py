"""/storage/v1: Supabase Storage's API over PostgreSQL's row-level security and a driver for the files."""
