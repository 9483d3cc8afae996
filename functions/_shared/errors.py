"""Every expected failure, and how it reads over HTTP.

FunctionError              500
├── GenerationFailed       500   no picture came of it; says whether trying again may help
├── InvalidRequest         400   the caller can mend it by changing the request
├── Unauthorized           401   no token, or one we do not accept
├── Forbidden              403   a good token that may not do this
├── NotFound               404   no such thing, or not the caller's: we do not say which
├── MethodNotAllowed       405
├── RequestTimeout         408   the request did not arrive in time
├── Conflict               409   the thing is in no state for this
├── PayloadTooLarge        413
├── UnsupportedMediaType   415   a body in an encoding we do not read
├── KeyReused              422   an Idempotency-Key that came with another body before
├── TooManyRequests        429   says when to come back
├── HeadersTooLarge        431
├── BadGateway             502   the Supabase behind us does not answer
└── Unavailable            503   the database does not answer; trying again will help
LeaseLost is not one of them: only workers meet it, and they stop quietly.
"""

from collections.abc import Iterable, Mapping

from starlette.responses import JSONResponse

from functions._shared import foreign

RETRY_AFTER_S = 5
LONGEST = 10_000
"""Characters of an error's text."""


class FunctionError(Exception):
    """``str(error)`` is safe to show, and to store: it often quotes a stranger. ``code`` is for programs."""

    status = 500
    code = "INTERNAL_ERROR"
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(foreign.text(message, LONGEST))
        self.code = code or self.code


class InvalidRequest(FunctionError):
    status, code = 400, "INVALID_REQUEST"


class Unauthorized(FunctionError):
    status, code = 401, "UNAUTHORIZED_INVALID_JWT_FORMAT"


class Forbidden(FunctionError):
    status, code = 403, "FORBIDDEN"


class NotFound(FunctionError):
    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(FunctionError):
    """``allowed`` are the methods there are."""

    status, code = 405, "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.headers = {"Allow": ", ".join(sorted(allowed))}


class RequestTimeout(FunctionError):
    status, code = 408, "REQUEST_TIMEOUT"


class Conflict(FunctionError):
    status, code = 409, "CONFLICT"


class PayloadTooLarge(FunctionError):
    status, code = 413, "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(FunctionError):
    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"


class KeyReused(FunctionError):
    status, code = 422, "IDEMPOTENCY_KEY_REUSED"


class TooManyRequests(FunctionError):
    """``headers`` are added to the answer."""

    status, code = 429, "RATE_LIMIT_EXCEEDED"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: int,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.headers = {"Retry-After": str(retry_after_s), **(headers or {})}


class HeadersTooLarge(FunctionError):
    status, code = 431, "HEADERS_TOO_LARGE"


class BadGateway(FunctionError):
    status, code = 502, "UPSTREAM_UNREACHABLE"


class Unavailable(FunctionError):
    status, code = 503, "UNAVAILABLE"
    headers: Mapping[str, str] = {"Retry-After": str(RETRY_AFTER_S)}


class GenerationFailed(FunctionError):
    """``retry``: whether another attempt may end better. ``retry_after_s``: the provider's own delay in seconds.

    ``error_class`` is kept with the job: ``failures.py`` has the provider's, None stands for permanent or transient.
    """

    status, code = 500, "GENERATION_FAILED"

    def __init__(
        self,
        message: str,
        *,
        retry: bool = True,
        retry_after_s: float | None = None,
        error_class: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.error_class = error_class


class LeaseLost(Exception):
    """Another worker has the job, or a person has finished it: this attempt may write nothing more."""


def error_response(error: FunctionError) -> JSONResponse:
    """``error`` for people, ``code`` for programs; ``message`` and ``msg`` are where other client readers look."""
    text = str(error)
    body = {"success": False, "error": text, "message": text, "msg": text, "code": error.code}
    headers = {"sb-error-code": error.code, **error.headers}
    return JSONResponse(body, status_code=error.status, headers=headers)
