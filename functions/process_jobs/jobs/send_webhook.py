"""Job send-webhook: tell a generation's ``webhook_url`` that it has ended, signed as Standard Webhooks.

Payload  generation_id, webhook_url, type (generation.completed, .failed, .cancelled), timestamp
Result   status
Sends    {"type", "timestamp", "data": the generation with its images}; webhook-id is the job's id at every attempt
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from pydantic import BaseModel
from standardwebhooks.webhooks import Webhook

from functions._shared.errors import GenerationFailed, NotFound
from functions._shared.generation import find_generation
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions._shared.web.addresses import Target, as_is, pinned, webhook_address
from functions._shared.web.bodies import validate

TIMEOUT_S = 15.0


class Payload(BaseModel):
    generation_id: UUID
    webhook_url: str
    type: str
    timestamp: str


async def run(job: Job, resources: Resources) -> dict[str, Any]:
    """Repeated until it is answered 2xx; receivers tell repetitions by the id."""
    payload = validate(Payload, job.payload)
    secret = resources.settings.webhook_secret
    generation = await find_generation(resources.pool, payload.generation_id)
    if secret is None or generation is None:
        raise NotFound("The generation, or the WEBHOOK_SECRET, is gone")
    event = {"type": payload.type, "timestamp": payload.timestamp, "data": generation}
    body = json.dumps(event, ensure_ascii=False)
    now = datetime.now(UTC)
    target = await _target(payload.webhook_url, resources)
    try:
        async with resources.http.stream(  # what it answers besides the status is not read
            "POST",
            target.url,
            content=body.encode(),
            headers={
                **target.headers,
                "Content-Type": "application/json",
                "webhook-id": str(job.id),
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": Webhook(secret.get_secret_value()).sign(
                    str(job.id), now, body
                ),
            },
            extensions=target.extensions,
            timeout=TIMEOUT_S,
        ) as response:
            status = response.status_code
    except (
        httpx.HTTPError,
        UnicodeError,
    ) as error:  # the latter of a Location with an xn-- that is none
        raise GenerationFailed(
            f"The webhook could not be reached ({type(error).__name__})"
        ) from None
    if not 200 <= status < 300:
        raise GenerationFailed(f"The webhook answered {status}", retry=status != 410)  # 410: gone
    return {"status": status}


async def _target(url: str, resources: Resources) -> Target:
    """As start-generation has checked it; once more, as a person may have queued the job, or the keys have changed."""
    address = webhook_address(url, resources.settings)
    return as_is(address) if resources.settings.uses_local_keys else await pinned(address)
