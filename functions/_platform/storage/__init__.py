"""/storage/v1: the part of Supabase Storage that the edge and its clients need, on the file system."""
