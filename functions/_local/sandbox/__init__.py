"""The sandbox: Replicate's predictions API on a local port, true at the level of the wire.

Caller  our own provider client, with the sandbox's address in place of api.replicate.com
Routes  POST /v1/predictions, POST /v1/models/{owner}/{name}/predictions, GET /v1/predictions,
        GET /v1/predictions/{id}, POST /v1/predictions/{id}/cancel, GET /v1/account, and the
        pictures at GET /output/{id}/{filename}, which need no token
Refuses what Replicate refuses, in its words: input is checked against the same schemas
Keeps   predictions in memory only: a restart forgets them
Then    starting, processing, succeeded by the time gone since the create; the picture shows
        the prompt, and is the same for the same model, prompt and seed

``app.py`` holds the routes, ``models.py`` what each model takes, ``drawing.py`` the pictures.
The starter binds it to loopback: the token is a stand-in and guards nothing.
"""
