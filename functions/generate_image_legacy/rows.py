"""The row of a legacy generation, which the client has inserted: begin, keep the prediction's id, complete or fail."""

from typing import Any, cast
from uuid import UUID

from psycopg.types.json import Jsonb

from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import refused
from functions._shared.errors import Conflict, NotFound


async def begin(pool: Pool, generation_id: UUID, user_id: UUID) -> str | None:
    """Set the user's pending or failed row to processing; returns the id of a prediction that is paid for, to adopt.

    Locks the row, so of two requests at once only one begins. A use of the quota is counted unless a prediction is
    adopted. Raises NotFound (also for another user's row), Conflict for any other status, TooManyRequests.
    """
    async with refused(), pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            "select status, replicate_prediction_id from public.image_generations"
            " where id = %s and user_id = %s for update",
            (generation_id, user_id),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFound("Generation not found")
        if row["status"] not in ("pending", "failed"):
            raise Conflict("This generation has been started already")
        prediction_id: str | None = row["replicate_prediction_id"]
        if prediction_id is None:
            await connection.execute(
                "select picture_edge.spend_quota(%s, %s, 'generate-image')",
                (user_id, generation_id),
            )
        if row["status"] == "failed":
            await connection.execute(
                "select picture_edge.reopen_generation(%s, 'pending')", (generation_id,)
            )
        await connection.execute(
            "update public.image_generations set status = 'processing', updated_at = now() where id = %s",
            (generation_id,),
        )
    return prediction_id


async def keep_prediction(pool: Pool, generation_id: UUID, prediction_id: str | None) -> None:
    """Store the id before the prediction has ended, so that a repeated request adopts it; None once it has failed."""
    async with pool.connection() as connection:
        await connection.execute(
            "update public.image_generations set replicate_prediction_id = %s, updated_at = now() where id = %s",
            (prediction_id, generation_id),
        )


async def complete(
    pool: Pool,
    generation_id: UUID,
    images: list[dict[str, Any]],
    adjustments: list[str],
    seconds: int,
) -> dict[str, Any]:
    """Write the images rows and complete the generation in one transaction; returns the first images row.

    Raises NotFound for a generation that has been deleted or ended meanwhile.
    """
    async with refused(), pool.connection() as connection, connection.transaction():
        await connection.execute(
            "update public.image_generations set generation_time_seconds = %s, adjustments = %s where id = %s",
            (seconds, adjustments, generation_id),
        )
        cursor = await connection.execute(
            "select to_jsonb(stored) as image from picture_edge.store_images(%s, %s) as stored",
            (generation_id, Jsonb(images)),
        )
        row = cast(dict[str, dict[str, Any]], await cursor.fetchone())
        return row["image"]


async def fail(pool: Pool, generation_id: UUID, error: str) -> None:
    """Fail a processing row; a row in a terminal status stays."""
    async with pool.connection() as connection:
        await connection.execute(
            "update public.image_generations set status = 'failed', error_message = %s, updated_at = now()"
            " where id = %s and status = 'processing'",
            (error, generation_id),
        )
