"""GET start-generation: the caller's generations, newest first, a page at a time (keyset pagination).

?status=completed,failed   only these
?limit=20                  1 to 100
?before=…                  the ``next`` of the page before, or a time in ISO 8601

{"success": true, "generations": [each as GET start-generation/<id> answers it], "next": for ``before``, or null}
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._shared.resources import resources_of
from functions._shared.web.bodies import validate

Status = Literal[
    "pending", "queued", "processing", "downloading", "completed", "failed", "cancelled"
]
Place = tuple[datetime, UUID]
"""A generation's place in the order: creation time and id."""

PAGE = """
select page.created_at, page.id, to_jsonb(page) || jsonb_build_object('images', coalesce(
    (select jsonb_agg(image order by image.created_at) from public.images as image
     where image.generation_id = page.id), '[]'::jsonb)) as generation
from (
    select * from public.image_generations
    where user_id = %(user_id)s
        and (%(at)s::timestamptz is null or (created_at, id) < (%(at)s, %(id)s))
        and (%(statuses)s::text[] is null or status = any (%(statuses)s))
    order by created_at desc, id desc
    limit %(limit)s
) as page
order by page.created_at desc, page.id desc
"""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _place(text: str) -> Place:
    """``2026-01-31T12:00:00Z``, or that and an id behind an underscore. A time without a zone is UTC."""
    time, _, generation_id = text.replace(" ", "+").partition("_")
    try:
        at = datetime.fromisoformat(time)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return at.astimezone(UTC), UUID(generation_id) if generation_id else UUID(int=0)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "place", "must be the next of a page, or a time such as 2026-01-31T12:00:00Z"
        ) from None


class Asked(BaseModel):
    """The query of the request."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Annotated[list[Status], BeforeValidator(_names)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    before: Annotated[Place, BeforeValidator(_place)] | None = None


async def list_own(request: Request) -> JSONResponse:
    """A page of the caller's generations with their images."""
    resources = resources_of(request)
    user_id = await resources.auth.user(request)
    asked = validate(Asked, dict(request.query_params))
    at, id_ = asked.before or (None, None)
    values: dict[str, Any] = {
        "user_id": user_id, "at": at, "id": id_, "statuses": asked.status, "limit": asked.limit,
    }  # fmt: skip
    async with resources.pool.connection() as connection:
        rows = await (await connection.execute(PAGE, values)).fetchall()
    last = rows[-1] if len(rows) == asked.limit else None
    return JSONResponse(
        {
            "success": True,
            "generations": [row["generation"] for row in rows],
            "next": last and f"{last['created_at'].astimezone(UTC).isoformat()}_{last['id']}",
        }
    )
