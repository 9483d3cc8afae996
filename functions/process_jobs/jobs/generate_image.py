"""Job generate-image: create a prediction at the provider. Parked while it runs; its end queues download-image.

Payload  start-generation's body, with generation_id and user_id; a source picture inside it by reference
Result   output_url, format, download_job_id
"""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, Field

from functions._shared.generation import GenerationRequest
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions._shared.web.bodies import validate
from functions._shared.web.fields import Text, picture_address
from functions._shared.web.own_input import KeptInput
from functions.process_generation.create import create_or_adopt
from functions.process_generation.kept_sources import is_reference
from functions.process_generation.predictions import Lease


def _address_or_reference(text: str) -> str:
    return text if is_reference(text) else picture_address(text)


class Payload(GenerationRequest):
    """Validated for the download too, before anything is paid for."""

    generation_id: Annotated[UUID, Field(strict=False)]
    user_id: Annotated[UUID, Field(strict=False)]
    source_image_url: Annotated[Text, AfterValidator(_address_or_reference)] | None = None
    """Also a reference to a picture that is kept (``kept_sources.py``)."""
    input: KeptInput | None = None
    """With references in the place of pictures."""
    from_queue: ClassVar[bool] = True


async def run(job: Job, resources: Resources) -> None:
    """Adopt the prediction of an earlier attempt, or create one; settling the prediction ends the job."""
    payload = validate(Payload, job.payload)
    await create_or_adopt(
        Lease(job_id=job.id, lease_token=job.lease_token),
        payload.generation_id,
        payload,
        resources,
        resources.settings.job_timeout_ms / 1000,
    )
