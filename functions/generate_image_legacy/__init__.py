"""POST /functions/v1/generate-image: make one picture while the caller waits (blocking). The rollback target.

Caller  a signed-in user
Writes  the picture, and a use of the user's quota; with a generation_id, also that row and its images row
Uses    process_generation's code and a connection pool of its own (bulkhead), neither the queue nor cron: it serves
        while they are broken
"""
