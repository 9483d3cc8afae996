"""Job generate-image: have the provider make the picture. Parked while that runs; its end queues the download.

Payload  start-generation's body, with generation_id and user_id; a source picture inside it by reference
Result   output_url, format, download_job_id
"""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from functions._shared.generation import GenerationRequest
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions._shared.web.bodies import validate
from functions._shared.web.fields import Text, askable
from functions.process_generation.paid import generate
from functions.process_generation.predictions import Lease
from functions.process_generation.source_images import REFERENCE


class Payload(GenerationRequest):
    """All that the download will need as well, so that nothing is paid for in vain."""

    generation_id: Annotated[UUID, Field(strict=False)]
    user_id: Annotated[UUID, Field(strict=False)]
    source_image_url: (
        Annotated[
            Text,
            Field(pattern=rf"^(https?://|data:image/|{REFERENCE}[0-9a-f]{{64}}$)"),
            AfterValidator(askable),
        ]
        | None
    ) = None
    """Also a reference to a picture that is kept (``source_images.py``)."""


async def run(job: Job, resources: Resources) -> None:
    """Adopt what an earlier attempt has paid for, or pay for one; the job is ended by whoever learns of its end."""
    payload = validate(Payload, job.payload)
    await generate(
        Lease(job_id=job.id, lease_token=job.lease_token),
        payload.generation_id,
        payload,
        resources,
        resources.settings.job_timeout_ms / 1000,
    )
