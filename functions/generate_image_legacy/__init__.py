"""POST /functions/v1/generate-image: one picture, made while the caller waits. The rollback target.

Caller  a signed-in user
Writes  the picture; with a generation_id, that row and its images row; without one, nothing more
Uses    process_generation's code, and neither the queue nor cron: it serves when they are broken
"""
