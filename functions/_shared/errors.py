"""The exception hierarchy: every expected failure, with its HTTP status and its code.

FunctionError              500
├── GenerationFailed       500   no picture was made; ``retry`` says whether another attempt may succeed
├── InvalidRequest         400   the request itself is at fault
├── Unauthorized           401   no credentials, or invalid ones
├── PaymentRequired        402   the operator's budget is spent
├── Forbidden              403   valid credentials without the right to do this
├── NotFound               404   absent or another user's: not told apart, so that ids cannot be probed
├── MethodNotAllowed       405
├── RequestTimeout         408   the request did not arrive in time (slow-read attack)
├── Conflict               409   the resource's state does not allow it
├── PayloadTooLarge        413
├── UnsupportedMediaType   415   a Content-Encoding other than gzip
├── KeyReused              422   an Idempotency-Key that was used with another body
├── TooManyRequests        429   Retry-After says when to try again
├── HeadersTooLarge        431
├── BadGateway             502   the upstream Supabase does not answer
└── Unavailable            503   the database cannot serve now; try again
LeaseLost stands apart: it has no HTTP status, as only workers meet it, and they stop without a report.
"""

import logging
from collections.abc import Iterable, Mapping

from starlette.responses import JSONResponse

from functions._shared import foreign

RETRY_AFTER_S = 5
MAX_TEXT = 10_000
"""Characters of an error's text; a longer one is truncated."""


class FunctionError(Exception):
    """``str(error)`` is safe to show and to store: it may quote untrusted text, which is sanitised. ``code`` is for
    programs.
    """

    status = 500
    code = "INTERNAL_ERROR"
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(foreign.text(message, MAX_TEXT))
        self.code = code or self.code


class InvalidRequest(FunctionError):
    status, code = 400, "INVALID_REQUEST"


class Unauthorized(FunctionError):
    status, code = 401, "UNAUTHORIZED_INVALID_JWT_FORMAT"


class PaymentRequired(FunctionError):
    status, code = 402, "BUDGET_SPENT"


class Forbidden(FunctionError):
    status, code = 403, "FORBIDDEN"


class NotFound(FunctionError):
    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(FunctionError):
    """``allowed`` becomes the Allow header."""

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
    """``headers`` are added to Retry-After, in seconds."""

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
    """``retry``: whether another attempt may succeed. ``retry_after_s``: the delay that the provider asks for.

    ``error_class`` is recorded with the job: the provider's are in ``provider/failures.py``; None: permanent or
    transient, by ``retry``.
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
    """Stale fencing token: another worker has the job, or a person has ended it; this attempt must not write.

    ``cancelled``: the job was cancelled, which is a normal event, unlike a lease that another worker took over.
    """

    def __init__(self, message: str, *, cancelled: bool = False) -> None:
        super().__init__(message)
        self.cancelled = cancelled

    def note(self, log: logging.Logger, what: str) -> None:
        """One line for the log: a warning, but for a cancelled job."""
        log.log(logging.INFO if self.cancelled else logging.WARNING, "%s: %s", what, self)


def error_response(error: FunctionError) -> JSONResponse:
    """``error`` for people, ``code`` for programs; ``message`` and ``msg`` are what Supabase's other clients read."""
    text = str(error)
    body = {"success": False, "error": text, "message": text, "msg": text, "code": error.code}
    headers = {"sb-error-code": error.code, **error.headers}
    return JSONResponse(body, status_code=error.status, headers=headers)
