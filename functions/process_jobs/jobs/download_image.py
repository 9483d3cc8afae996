"""Job download-image: fetch the finished picture and store it; the generation is completed in the same commit.

Payload  generation_id, user_id, output_url, format, width, height, prompt, negative_prompt, model_id
Result   image_id, public_url, storage_path
"""

from uuid import UUID

from psycopg.types.json import Jsonb

from functions._shared.pictures import fetch_and_store
from functions._shared.resources import Resources
from functions.process_jobs.queue import Job, fenced


async def run(job: Job, resources: Resources) -> None:
    """Repeating it is harmless: the upload replaces, and the row is written together with the job's end."""
    image = await fetch_and_store(
        resources,
        job.payload["output_url"],
        user_id=UUID(job.payload["user_id"]),
        name=str(UUID(job.payload["generation_id"])),
        width=job.payload.get("width"),
        height=job.payload.get("height"),
    )
    async with fenced(), resources.pool.connection() as connection:
        await connection.execute(
            "select public.finish_download_image(%s, %s, %s)",
            (job.id, job.lease_token, Jsonb(image)),
        )
