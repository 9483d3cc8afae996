"""The gateway: one ASGI app for all functions, the services of Supabase's, health and OpenAPI.

    uvicorn functions.gateway:app        or        python -m functions

Under plain uvicorn the bounds of bounds.py do not hold: server.py has the settings that bring them.
"""

import gc
import sys

# httpx imports its command line where rich happens to be installed: 25 ms and 3 MB. None: as if it were not.
sys.modules["httpx._main"] = None  # type: ignore[assignment]

from functions.gateway.app import app  # noqa: E402

__all__ = ["app"]

# Garbage collection: what was imported lives for ever, and a full collection would traverse it, 50 ms with the event
# loop held. Here, so that the workers of uvicorn have it as well.
gc.freeze()
