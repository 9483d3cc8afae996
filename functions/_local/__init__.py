"""The stand-ins that make one machine enough, where there is no real Supabase and no Replicate account."""
