"""The generation that a request's path names. Another user's is answered as none: 404 confirms no foreign id."""

from collections.abc import Sequence
from uuid import UUID

from starlette.requests import Request

from functions._shared.database.batching import Batcher
from functions._shared.database.pool import Pool
from functions._shared.errors import NotFound
from functions._shared.generation import WITH_IMAGES

BATCH = 100
"""Generations that one round trip reads at most."""

Asked = tuple[UUID, UUID]
"""A generation and the user who asks for it."""

OWN = f"""
select ({WITH_IMAGES})::text as generation
from unnest(%s::uuid[], %s::uuid[]) with ordinality as asked (id, user_id, place)
left join public.image_generations as generation
    on generation.id = asked.id and generation.user_id = asked.user_id
order by asked.place
"""  # noqa: S608 - a literal


class OwnGenerations:
    """Reads for all requests of the process by natural batching: those that come during a round trip share the next."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._batcher: Batcher[Asked, bytes] = Batcher(self._read, BATCH)

    async def find(self, generation_id: UUID, user_id: UUID) -> bytes:
        """The row with its images as PostgreSQL's JSON. Raises NotFound."""
        return await self._batcher.do((generation_id, user_id))

    async def _read(self, asked: Sequence[Asked]) -> Sequence[bytes | Exception]:
        ids, users = zip(*asked, strict=True)
        async with self._pool.connection() as connection:
            cursor = await connection.execute(OWN, ([*ids], [*users]), binary=True)
            rows = await cursor.fetchall()
        return [
            NotFound("Generation not found") if row["generation"] is None
            else row["generation"].encode() for row in rows
        ]  # fmt: skip


def generation_id_of(request: Request) -> UUID:
    """The id in the path. Raises NotFound for text that is no uuid, as for an id without a row."""
    try:
        return UUID(request.path_params["generation_id"])
    except ValueError:
        raise NotFound("Generation not found") from None


async def own_generation(request: Request, user_id: UUID) -> bytes:
    """The row of ``user_id`` with its images, as JSON. Raises NotFound."""
    reads: OwnGenerations = request.state.own_generations
    return await reads.find(generation_id_of(request), user_id)
