"""A generation as clients read it."""

from typing import Any
from uuid import UUID

from functions._shared.database import Pool

GENERATION = """
select to_jsonb(generation) || jsonb_build_object('images', coalesce(
    (select jsonb_agg(image order by image.created_at) from public.images as image
     where image.generation_id = generation.id), '[]'::jsonb)) as generation
from public.image_generations as generation
where generation.id = %s and (%s::uuid is null or generation.user_id = %s)
"""


async def find_generation(
    pool: Pool, generation_id: UUID, user_id: UUID | None = None
) -> dict[str, Any] | None:
    """The row with its images; None where there is none, or it is not ``user_id``'s."""
    async with pool.connection() as connection:
        cursor = await connection.execute(GENERATION, (generation_id, user_id, user_id))
        row = await cursor.fetchone()
    return row["generation"] if row else None
