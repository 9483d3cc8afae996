"""POST /functions/v1/start-generation: check the request, queue it, answer at once.

Caller  a signed-in user
Writes  the generation and its job, in one round trip, through ``start_generation``
Then    the worker makes the picture; GET /functions/v1/start-generation/<id> tells how far it is
"""
