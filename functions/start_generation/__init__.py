"""POST /functions/v1/start-generation: validate the request, enqueue it, answer at once.

Caller  a signed-in user, for all routes
Writes  a generation and its job per prompt, in one transaction and one round trip (``start_generations``)
Then    the worker makes the picture; GET …/<generation_id> answers with the row, GET …/<generation_id>/events
        streams its changes (server-sent events), DELETE …/<generation_id> cancels, or deletes an ended one
"""
