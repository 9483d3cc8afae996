"""Services of Supabase beside functions, for projects without one: a folder and a small Starlette app per service."""
