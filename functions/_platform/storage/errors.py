"""Errors as Supabase Storage answers them: HTTP status 400 for nearly all, the real status inside the body.

{"statusCode": "404", "error": "not_found", "message": "Object not found", "code": "NoSuchKey"}
"""

import errno
import logging
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._shared.database.sqlstates import is_down
from functions._shared.errors import FunctionError

log = logging.getLogger(__name__)

MAX_QUOTED = 200
"""Characters of a key that an error quotes."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class StorageError(Exception):
    """``status``: the number in the body. ``error``: upstream's older name of the error; ``code``: its newer one."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        code: str | None = None,
        *,
        http_status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.http_status = http_status
        self.headers = headers or {}
        self.body = {
            "statusCode": str(status),
            "error": error,
            "message": message,
            "code": code or error,
        }


def invalid_key(key: str) -> StorageError:
    return StorageError(400, "InvalidKey", f"Invalid key: {key[:MAX_QUOTED]}")


def invalid_request(message: str) -> StorageError:
    return StorageError(400, "InvalidRequest", message)


def too_large() -> StorageError:
    message = "The object exceeded the maximum allowed size"
    return StorageError(413, "Payload too large", message, "EntityTooLarge")


def no_bucket() -> StorageError:
    return StorageError(404, "Bucket not found", "Bucket not found", "NoSuchBucket")


def no_object() -> StorageError:
    return StorageError(404, "not_found", "Object not found", "NoSuchKey")


def duplicate(code: str = "KeyAlreadyExists") -> StorageError:
    return StorageError(409, "Duplicate", "The resource already exists", code)


def denied(message: str) -> StorageError:
    return StorageError(403, "Unauthorized", message, "AccessDenied")


def invalid_mime_type(mime_type: str) -> StorageError:
    message = f"mime type {mime_type[:MAX_QUOTED]} is not supported"
    return StorageError(415, "invalid_mime_type", message, "InvalidMimeType")


def from_database(error: psycopg.Error) -> StorageError | None:
    """What a refusal of the database means to a client; None for a bug or a database that is down."""
    if error.sqlstate == "42501":
        told = error.diag.message_primary or ""
        is_right = told.startswith(
            "permission denied"
        )  # to set a role, for a table; else by a policy
        return denied(told if is_right else "new row violates row-level security policy")
    if error.sqlstate == "23505":
        return duplicate()
    if error.sqlstate == "23503":
        return StorageError(404, "DatabaseError", "The related resource does not exist")
    if error.sqlstate == "54001":  # jsonb is parsed by recursion: max_stack_depth
        return invalid_request("The metadata is nested too deeply")
    if error.sqlstate == "22023":  # SET ROLE of a role that does not exist
        return denied("Invalid role")
    return None


def _answer(error: StorageError) -> JSONResponse:
    return JSONResponse(error.body, error.http_status, headers=error.headers)


async def on_storage_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StorageError)
    return _answer(error)


async def on_function_error(request: Request, error: Exception) -> JSONResponse:
    """An error of the shared code: the throttle (429), signing keys that cannot be fetched (503), a body's limits."""
    assert isinstance(error, FunctionError)
    codes = {413: "EntityTooLarge", 429: "SlowDown", 401: "AccessDenied"}
    status = error.status if error.status in {429, 503} or error.status >= 500 else 400
    code = codes.get(error.status, "InvalidRequest" if status == 400 else "InternalError")
    told = StorageError(
        error.status, code, str(error), http_status=status, headers=dict(error.headers)
    )
    return _answer(told)


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """No such route (404), or not with this method (405)."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    message = f"Route {request.method}:{path[:MAX_QUOTED]} not found"
    names = {404: "Not Found", 405: "Method Not Allowed"}
    told = StorageError(
        error.status_code,
        names.get(error.status_code, "InvalidRequest"),
        message,
        "InvalidRequest",
        http_status=error.status_code,
        headers=error.headers or {},
    )
    return _answer(told)


async def on_database_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, psycopg.Error | PoolTimeout)
    told = from_database(error) if isinstance(error, psycopg.Error) else None
    if told is None and is_down(error):
        log.warning("database not reachable: %s", type(error).__name__)
        message = "The connection to the database timed out"
        told = StorageError(544, "DatabaseTimeout", message, http_status=503)
    if told is None:
        # Not the error's text: PostgreSQL quotes the values of a row in it.
        state = getattr(error, "sqlstate", None)
        log.error("database error at %s: SQLSTATE %s", request.url.path, state)
        told = StorageError(500, "DatabaseError", "Internal Server Error", http_status=500)
    return _answer(told)


async def on_os_error(request: Request, error: Exception) -> JSONResponse:
    """A full disk, which a client can be told; any other failure of the files is ours."""
    assert isinstance(error, OSError)
    if error.errno in NO_SPACE:
        message = "There is no room for the object"
        told = StorageError(507, "InsufficientStorage", message, http_status=507)
    else:
        log.error("files of storage: %s", error)
        told = StorageError(500, "InternalError", "Internal Server Error", http_status=500)
    return _answer(told)


def internal_error() -> JSONResponse:
    """A bug's answer."""
    message = "Internal Server Error"
    return _answer(StorageError(500, "Internal", message, "InternalError", http_status=500))


HANDLERS: Mapping[Any, Any] = {
    StorageError: on_storage_error,
    FunctionError: on_function_error,
    HTTPException: on_http_exception,
    psycopg.Error: on_database_error,
    PoolTimeout: on_database_error,
    OSError: on_os_error,
}
"""Exception handlers of the service's app."""
