"""/storage/v1: the part of Supabase Storage that the functions and their clients need, on the file system.

Bucket  STORAGE_BUCKET alone; public, only the service role writes
Routes  GET /bucket/<bucket>; POST, PUT /object/<bucket>/<path>; GET, HEAD /object/public/<bucket>/<path>
Errors  as Supabase Storage has them: HTTP 400 nearly always, the real status in the body
"""
