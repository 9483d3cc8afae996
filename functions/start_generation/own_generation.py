"""The generation that a request's path names. Another user's is answered as none: 404 confirms no foreign id."""

from typing import Any
from uuid import UUID

from starlette.requests import Request

from functions._shared.errors import NotFound
from functions._shared.generation import find_generation
from functions._shared.resources import resources_of


def generation_id_of(request: Request) -> UUID:
    """The id in the path. Raises NotFound for text that is no uuid, as for an id without a row."""
    try:
        return UUID(request.path_params["generation_id"])
    except ValueError:
        raise NotFound("Generation not found") from None


async def own_generation(request: Request, user_id: UUID) -> dict[str, Any]:
    """The row of ``user_id`` with its images. Raises NotFound."""
    pool = resources_of(request).pool
    generation = await find_generation(pool, generation_id_of(request), user_id)
    if generation is None:
        raise NotFound("Generation not found")
    return generation
