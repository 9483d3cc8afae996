"""Errors in GoTrue's shapes: its codes, statuses and bodies, in both versions of its API.

``X-Supabase-Api-Version: 2024-01-01`` or later   {"code": "<code>", "message": "<text>"}, and the header is echoed
otherwise                                         {"code": <status>, "error_code": "<code>", "msg": "<text>"}
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._shared.database.sqlstates import is_down
from functions._shared.errors import FunctionError

log = logging.getLogger(__name__)

VERSION_HEADER = "X-Supabase-Api-Version"
VERSION = "2024-01-01"
"""The first API version whose errors are {code, message}; ISO dates compare as text."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class AuthError(Exception):
    """``code`` is one of GoTrue's; ``message`` is shown to clients. ``more``: further members of the body."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.more = more or {}
        self.headers = headers or {}


class OAuthError(AuthError):
    """RFC 6749's body: {"error": code, "error_description": message}, in any version of the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(400, code, message)


def validation_failed(message: str) -> AuthError:
    return AuthError(400, "validation_failed", message)


def over_limit(retry_after_s: int) -> AuthError:
    """429 of the rate limit by client address."""
    headers = {"Retry-After": str(retry_after_s)}
    return AuthError(429, "over_request_rate_limit", "Request rate limit reached", headers=headers)


async def on_auth_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AuthError)
    headers = {"x-sb-error-code": error.code, **error.headers}
    version = request.headers.get(VERSION_HEADER, "")
    body: dict[str, Any]
    if isinstance(error, OAuthError):
        body = {"error": error.code, "error_description": str(error)}
    elif _DATE.fullmatch(version) and version >= VERSION:
        headers[VERSION_HEADER] = VERSION
        body = {"code": error.code, "message": str(error)}
    else:
        body = {"code": error.status, "error_code": error.code, "msg": str(error)}
    return JSONResponse({**body, **error.more}, status_code=error.status, headers=headers)


_CODES: Mapping[int, str] = {
    400: "bad_json",
    401: "bad_jwt",
    404: "unknown",
    405: "unknown",
    408: "request_timeout",
    413: "request_entity_too_large",
    415: "bad_json",
    429: "over_request_rate_limit",
}
"""Status → GoTrue's code for an error that code outside this folder raises (body limits, throttle, routing)."""


async def on_function_error(request: Request, error: Exception) -> JSONResponse:
    """An error of the shared code, in GoTrue's shape."""
    assert isinstance(error, FunctionError)
    code = _CODES.get(error.status, "unexpected_failure")
    told = AuthError(error.status, code, str(error), headers=error.headers)
    return await on_auth_error(request, told)


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """No such route (404), or not with this method (405)."""
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "unexpected_failure")
    return await on_auth_error(request, AuthError(error.status_code, code, error.detail))


async def on_database_error(request: Request, error: Exception) -> JSONResponse:
    """503 while the database is down: auth-js retries it, and keeps its session. Any other database error is a bug."""
    if is_down(error):
        log.warning("database not reachable: %s", type(error).__name__)
        told = AuthError(503, "unexpected_failure", "The database is not reachable at the moment")
    else:
        assert isinstance(error, psycopg.Error)
        # Not the error's text: PostgreSQL quotes the values of a row in it, mail addresses among them.
        log.error("database error at %s: SQLSTATE %s", request.url.path, error.sqlstate)
        told = AuthError(
            500,
            "unexpected_failure",
            "Unexpected failure, please check server logs for more information",
        )
    return await on_auth_error(request, told)


HANDLERS: Mapping[Any, Any] = {
    AuthError: on_auth_error,
    FunctionError: on_function_error,
    HTTPException: on_http_exception,
    psycopg.Error: on_database_error,
}
"""Exception handlers of the service's app."""
