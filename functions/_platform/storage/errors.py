"""Errors as Supabase Storage answers them: HTTP status 400 for all, the real status inside the body."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MAX_QUOTED = 200
"""Characters of a key that an error quotes."""


class StorageError(Exception):
    """``status`` is a number of HTTP, ``error`` the name that Supabase Storage has for it, ``message`` for people."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.body = {"statusCode": str(status), "error": error, "message": message}


def invalid_key(key: str) -> StorageError:
    return StorageError(400, "InvalidKey", f"Invalid key: {key[:MAX_QUOTED]}")


def too_large() -> StorageError:
    return StorageError(413, "Payload too large", "The object exceeded the maximum allowed size")


async def on_storage_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StorageError)
    return JSONResponse(error.body, status_code=400)
