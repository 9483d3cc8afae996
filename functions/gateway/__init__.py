"""The way in: one ASGI app for everything a client calls.

uvicorn functions.gateway:app        or        python -m functions
"""

from functions.gateway.app import app

__all__ = ["app"]
