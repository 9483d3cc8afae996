"""Job download-image: fetch the finished pictures and store them; the generation is completed in the same commit.

Payload  generation_id, user_id, output_url, output_urls, format, width, height, prompt, negative_prompt, model_id
Result   image_id, public_url, storage_path of the first; image_ids of all
"""

from uuid import UUID

from psycopg.types.json import Jsonb

from functions._shared.database import fenced
from functions._shared.jobs import Job
from functions._shared.pictures import fetch_and_store
from functions._shared.resources import Resources


async def run(job: Job, resources: Resources) -> None:
    """Repeating it is harmless: the upload replaces, and the rows are written together with the job's end."""
    images = await fetch_and_store(
        resources,
        job.payload.get("output_urls") or [job.payload["output_url"]],
        user_id=UUID(job.payload["user_id"]),
        name=str(UUID(job.payload["generation_id"])),
        width=job.payload.get("width"),
        height=job.payload.get("height"),
    )
    async with fenced(), resources.pool.connection() as connection:
        await connection.execute(
            "select public.finish_download_image(%s, %s, %s)",
            (job.id, job.lease_token, Jsonb(images)),
        )
