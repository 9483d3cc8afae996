"""What a Supabase project serves beside functions, for those who have none: a small app for each service."""
