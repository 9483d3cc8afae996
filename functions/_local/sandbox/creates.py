"""A create: checked, throttled, made, and answered, or answered badly on demand."""

import asyncio
import base64
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from functions._local.sandbox.absurd import Written
from functions._local.sandbox.faults import REFUSALS, Faults
from functions._local.sandbox.models import Model, refusals
from functions._local.sandbox.predictions import Prediction, read_duration
from functions._local.sandbox.problems import Cut, Problem, bad_token

LOOK_S = 0.02


class RateLimit:
    """So many creates a minute, so many at once. ``None`` for no limit."""

    def __init__(self, per_minute: int | None = None, burst: int = 1) -> None:
        self._per_minute, self._burst = per_minute, burst
        self._left, self._at = float(burst), time.monotonic()

    def take(self) -> None:
        """Count a create. Raises Problem, a 429 in Replicate's words."""
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


def refuse_bad_body(body: object, model: Model | None, *, by_name: bool) -> None:
    if fields := refusals(body, model, by_name=by_name):
        lines = [": ".join(filter(None, (f["field"], f["description"]))) for f in fields]
        detail = "".join(f"- {line}\n" for line in lines)
        raise Problem(422, detail, "Input validation failed", invalid_fields=fields)


def faults_of(request: Request, given: dict[str, Any], faults: Faults) -> frozenset[str]:
    return faults.of(request.headers.get("x-sandbox-fault", ""), str(given.get("prompt", "")))


def refusal(faults: frozenset[str]) -> Response | None:
    """What a create that makes nothing is answered with, if one of ``faults`` asks for it."""
    match next(iter(faults & REFUSALS), None):
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
        case "busy-absurd":
            detail = f"Request was throttled. Your rate limit resets in ~{'9' * 5000}s."
            absurd = {"detail": detail, "status": 429, "retry_after": -1}
            return JSONResponse(absurd, 429, headers={"Retry-After": "1e400"})
        case "odd-refusal":
            odd = [{"msg": "the\0 input\ud83d"}, {"message": "is odd", "code": 7}]
            return Written({"title": ["x"], "detail": odd, "status": "422"}, 422)
        case "error-before":
            return HTMLResponse("<html>Internal Server Error</html>", 500)
        case "cut-before":
            return Cut(status_code=201)
        case "unauthorised":
            return bad_token()
        case "no-credit":
            detail = "You have insufficient credit to run this model. Buy credit, then wait a few minutes."
            return JSONResponse(
                {"title": "Insufficient credit", "detail": detail, "status": 402}, 402
            )
        case "gone":
            detail = "The requested resource could not be found."
            return JSONResponse({"detail": detail, "status": 404}, 404)
    return None


def make(
    request: Request,
    body: dict[str, Any],
    model: Model,
    version: str,
    seconds: float,
    faults: frozenset[str],
) -> Prediction:
    """The prediction that a good body asks for. Raises Problem for a bad Cancel-After or webhook."""
    webhook = urlsplit(body.get("webhook") or "")
    if webhook.scheme == "http" and webhook.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Problem(422, "webhook: must be an https address", "Input validation failed")
    filled = model.with_defaults(body["input"])
    cancel_after = request.headers.get("cancel-after")
    return Prediction(
        # 16 bytes are 26 of the 32 letters and digits.
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


async def hold(request: Request, prediction: Prediction) -> bool:
    """Wait as ``Prefer: wait`` asks; whether it did."""
    preference = request.headers.get("prefer", "").replace(" ", "")
    name, _, seconds = preference.partition("=")
    if name != "wait":
        return False
    if seconds and not (seconds.isdigit() and 1 <= int(seconds) <= 60):
        raise Problem(400, "Prefer: wait takes 1 to 60 seconds")
    until = time.monotonic() + int(seconds or 60)
    while not prediction.is_finished and time.monotonic() < until:  # noqa: ASYNC110 - the time ends it, not an event
        await asyncio.sleep(LOOK_S)
    return True
