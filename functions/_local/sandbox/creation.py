"""The steps of a create: validate, rate-limit, inject faults, build, honour ``Prefer: wait``."""

import asyncio
import base64
import secrets
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from functions._local.sandbox.authentication import unauthenticated
from functions._local.sandbox.faults import CREATE_ERRORS, Faults
from functions._local.sandbox.malformed import AsciiJSONResponse
from functions._local.sandbox.models import Model
from functions._local.sandbox.predictions import Prediction, read_duration
from functions._local.sandbox.problems import Problem, TruncatedResponse
from functions._local.sandbox.validation import invalid_fields

POLL_S = 0.02


class TokenBucket:
    """Token-bucket rate limit of creates: ``per_minute`` refilled, ``burst`` at most. None: unlimited."""

    def __init__(self, per_minute: int | None = None, burst: int = 1) -> None:
        self._per_minute, self._burst = per_minute, burst
        self._left, self._at = float(burst), time.monotonic()

    def take(self) -> None:
        """Take one token. Raises Problem when the bucket is empty: a 429 with Replicate's error message."""
        if self._per_minute is None:
            return
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_minute / 60)
        self._at = now
        if self._left < 1:
            wait_s = max(1, round((1 - self._left) * 60 / self._per_minute))
            raise Problem(
                429,
                "Request was throttled. Your rate limit for creating predictions is reduced to"
                f" {self._per_minute} requests per minute with a burst of {self._burst} requests while you have"
                f" less than $5.0 in credit. Your rate limit resets in ~{wait_s}s.",
                retry_after=wait_s,
            )
        self._left -= 1


def validate_body(body: object, model: Model | None, *, by_name: bool) -> None:
    """Raise Problem, a 422 that lists every invalid field, unless ``body`` is valid for ``model``."""
    if fields := invalid_fields(body, model, by_name=by_name):
        lines = [": ".join(filter(None, (f["field"], f["description"]))) for f in fields]
        detail = "".join(f"- {line}\n" for line in lines)
        raise Problem(422, detail, "Input validation failed", invalid_fields=fields)


def requested_faults(request: Request, given: dict[str, Any], faults: Faults) -> frozenset[str]:
    return faults.of(request.headers.get("x-sandbox-fault", ""), str(given.get("prompt", "")))


def error_response(faults: frozenset[str]) -> Response | None:
    """The error response of a create that makes no prediction, if ``faults`` ask for one."""
    match next(iter(faults & CREATE_ERRORS), None):
        case "busy-header":
            return Response(status_code=429, headers={"Retry-After": "1"})
        case "busy-body":
            throttled = {"detail": "Request was throttled.", "status": 429, "retry_after": 1}
            return JSONResponse(throttled, 429)
        case "busy-text":
            detail = "Request was throttled. Your rate limit resets in ~1s."
            return JSONResponse({"detail": detail, "status": 429}, 429)
        case "busy-bare":
            return Response("busy", 429)
        case "busy-date":
            return Response(
                status_code=429, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)}
            )
        case "busy-django":
            detail = "Request was throttled. Expected available in 1 second."
            return JSONResponse({"detail": detail}, 429)
        case "busy-absurd":
            detail = f"Request was throttled. Your rate limit resets in ~{'9' * 5000}s."
            absurd = {"detail": detail, "status": 429, "retry_after": -1}
            return JSONResponse(absurd, 429, headers={"Retry-After": "1e400"})
        case "odd-refusal":
            odd = [{"msg": "the\0 input\ud83d"}, {"message": "is odd", "code": 7}]
            return AsciiJSONResponse({"title": ["x"], "detail": odd, "status": "422"}, 422)
        case "error-before":
            return HTMLResponse("<html>Internal Server Error</html>", 500)
        case "cut-before":
            return TruncatedResponse(status_code=201)
        case "unauthorised":
            return unauthenticated()
        case "no-credit":
            detail = "You have insufficient credit to run this model. Buy credit, then wait a few minutes."
            return JSONResponse(
                {"title": "Insufficient credit", "detail": detail, "status": 402}, 402
            )
        case "gone":
            detail = "The requested resource could not be found."
            return JSONResponse({"detail": detail, "status": 404}, 404)
    return None


def new_prediction(
    request: Request,
    body: dict[str, Any],
    model: Model,
    version: str,
    seconds: float,
    faults: frozenset[str],
) -> Prediction:
    """Build the prediction of a valid body. Raises Problem for an invalid Cancel-After or webhook address."""
    webhook = urlsplit(body.get("webhook") or "")
    if webhook.scheme == "http" and webhook.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Problem(422, "webhook: must be an https address", "Input validation failed")
    filled = model.with_defaults(body["input"])
    cancel_after = request.headers.get("cancel-after")
    return Prediction(
        # The form of Replicate's ids: 26 characters of base32, in lower case.
        id=base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower(),
        model=model,
        version=version,
        input=filled,
        seed=int(model.effective(filled).get("seed", secrets.randbelow(2**31))),
        seconds=seconds,
        faults=faults,
        cancel_after=read_duration(cancel_after) if cancel_after else None,
        webhook=body.get("webhook"),
        webhook_events=body.get("webhook_events_filter"),
    )


async def wait_as_preferred(request: Request, prediction: Prediction) -> bool:
    """Block until the prediction has ended, as ``Prefer: wait[=seconds]`` asks (synchronous mode).

    Returns whether the header asked for it. Raises Problem for seconds outside 1 to 60.
    """
    preference = request.headers.get("prefer", "").replace(" ", "")
    name, _, seconds = preference.partition("=")
    if name != "wait":
        return False
    if seconds and not (seconds.isdigit() and 1 <= int(seconds) <= 60):
        raise Problem(400, "Prefer: wait takes 1 to 60 seconds")
    until = time.monotonic() + int(seconds or 60)
    while not prediction.is_finished and time.monotonic() < until:  # noqa: ASYNC110 - a status is a function of time
        await asyncio.sleep(POLL_S)
    return True
