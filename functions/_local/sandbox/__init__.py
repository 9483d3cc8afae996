"""The sandbox: a fake of Replicate's HTTP API on a local port. README.md has routes and faults.

Caller      our own provider client, with the sandbox's address in place of api.replicate.com
Validation  input is checked against the same JSON Schemas, with Replicate's error messages
Lifecycle   starting, processing, succeeded, by the time since the create; the picture shows the prompt and is
            deterministic: equal model, prompt and seed give equal bytes

Bind it to loopback only: the token is a well-known constant and no protection.
"""
