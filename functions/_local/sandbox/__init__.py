"""The sandbox: Replicate's API on a local port, true at the level of the wire. README.md has the routes and the faults.

Caller  our own provider client, with the sandbox's address in place of api.replicate.com
Refuses what Replicate refuses, in its words: input is checked against the same schemas
Then    starting, processing, succeeded by the time gone since the create; the picture shows
        the prompt, and is the same for the same model, prompt and seed

The starter binds it to loopback: the token is a stand-in and guards nothing.
"""
