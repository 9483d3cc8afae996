"""What a POST to start-generation holds: the body, validated per prompt, and the Idempotency-Key."""

import hashlib
import json
import re
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.resources import Resources
from functions._shared.web.addresses import webhook_address
from functions._shared.web.bodies import validate
from functions._shared.web.fields import HttpAddress
from functions._shared.web.own_input import addresses_in
from functions.process_generation.prepare import source_errors_named

MAX_PROMPTS = 50
IDEMPOTENCY_KEY = re.compile(r"[ -~]{1,255}")


class StartRequest(GenerationRequest):
    """A generation, and perhaps where to tell of its end."""

    webhook_url: Annotated[HttpAddress, Field(max_length=2000)] | None = None


def start_requests(body: dict[str, Any]) -> list[StartRequest]:
    """The body validated once per prompt: an array of prompts is a generation each. Raises InvalidRequest."""
    prompts = body.get("prompt")
    if not isinstance(prompts, list):
        prompts = [prompts]
    elif not 1 <= len(prompts) <= MAX_PROMPTS:
        raise InvalidRequest(f"prompt: an array must hold 1 to {MAX_PROMPTS} prompts")
    return [validate(StartRequest, {**body, "prompt": prompt}) for prompt in prompts]


def check_addresses(request: StartRequest, resources: Resources) -> None:
    """Refuse addresses that the worker would refuse, as far as no DNS lookup is needed. Raises InvalidRequest."""
    if request.source_image_url:
        resources.fetcher.check_source(request.source_image_url)
    for key, address in addresses_in(request.input or {}):
        with source_errors_named(f"input.{key}"):
            resources.fetcher.check_source(address)
    if request.webhook_url:
        if resources.settings.webhook_secret is None:
            raise InvalidRequest("webhook_url: this server has no WEBHOOK_SECRET to sign with")
        webhook_address(request.webhook_url, resources.settings)


def idempotency_key_of(request: Request) -> str | None:
    """The Idempotency-Key header; None where there is none. Raises InvalidRequest."""
    key = request.headers.get("idempotency-key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key: must be 1 to 255 printable ASCII characters")
    return key


def body_hash(body: dict[str, Any]) -> str:
    """SHA-256 of the body's canonical JSON: independent of the order of the fields."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
