"""Job send-webhook: report a generation's terminal status to its ``webhook_url``, signed (Standard Webhooks).

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
from functions._shared.metrics import recording
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
    """At-least-once delivery: retried until a 2xx; receivers deduplicate by webhook-id."""
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
        async with resources.http.stream(  # the body of the answer is not read
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
    except (httpx.HTTPError, UnicodeError) as error:
        # UnicodeError: a Location whose xn-- host is invalid.
        recording.webhook_sent("unreachable")
        raise GenerationFailed(
            f"The webhook could not be reached ({type(error).__name__})"
        ) from None
    delivered = 200 <= status < 300
    recording.webhook_sent("delivered" if delivered else "refused")
    if not delivered:
        raise GenerationFailed(f"The webhook answered {status}", retry=status != 410)  # 410: gone
    return {"status": status}


async def _target(url: str, resources: Resources) -> Target:
    """SSRF check as in start-generation, repeated: the job may be queued by hand, or the local keys replaced since."""
    address = webhook_address(url, resources.settings)
    return as_is(address) if resources.settings.uses_local_keys else await pinned(address)
