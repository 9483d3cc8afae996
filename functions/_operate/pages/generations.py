"""Generations, newest first, by a filter that stands in the address.

GET /operate/generations?q=&user=&model=&status=&before=

``q`` is a part of the prompt, or an id: of a generation, a job or a prediction. Keyset pagination; what no index knows
is looked for in WINDOW rows a page.
"""

from typing import Any, LiteralString
from urllib.parse import urlsplit
from uuid import UUID

from starlette.responses import Response

from functions._operate.database import Reader
from functions._operate.identify import emails, user_of, uuid_of
from functions._operate.keyset import like, page_of, place
from functions._operate.visit import Visit
from functions._shared.resources import resources_of

PAGE = 36
WINDOW = 10_000
STATUSES = ("queued", "processing", "downloading", "completed", "failed", "cancelled", "pending")
NAMES = ("q", "user", "model", "status")
THUMBNAIL = "width=360&height=360&resize=cover&quality=70"
PUBLIC, RENDERED = "/storage/v1/object/public/", "/storage/v1/render/image/public/"

_PAGE: LiteralString = """
with seen as materialized (
    select id, user_id, prompt, model, status, stage, progress, error_message, width, height, created_at,
        created_at as at, row_number() over () as place
    from (
        select * from public.image_generations
        where {where} and (created_at, id) < (%(at)s, %(id)s)
        order by created_at desc, id desc limit %(window)s
    ) as newest
),
found as (
    (
        select *, 0 as seen from seen
        where (%(status)s = '' or status = %(status)s) and (%(q)s = '' or prompt ilike %(like)s)
            and (%(model)s = '' or model ilike %(model_like)s)
        order by place limit %(page)s
    )
    union all
    (select *, place as seen from seen order by place desc limit 1)
)
select found.*, picture.public_url
from found
left join lateral (
    select public_url from public.images where images.generation_id = found.id and found.seen = 0
    order by images.created_at limit 1
) as picture on true
order by found.seen, found.place
"""
ALL_PAGE: LiteralString = _PAGE.replace("{where}", "true")
USER_PAGE: LiteralString = _PAGE.replace("{where}", "user_id = %(user)s")
BY_PREDICTION = """
select coalesce(
    (select generation_id from public.spend where prediction_id = %(q)s and generation_id is not null limit 1),
    (
        select case when payload ->> 'generation_id' ~ '^[0-9a-f-]{36}$' then (payload ->> 'generation_id')::uuid end
        from public.predictions inner join public.job_queue on job_queue.id = predictions.job_id
        where predictions.prediction_id = %(q)s limit 1
    )
) as id
"""


async def generations(visit: Visit) -> Response:
    asked = {name: visit.asked(name) for name in NAMES}
    async with visit.reading() as reader:
        if path := await _path_of(reader, asked["q"]):
            return visit.go(path)
        user_id = await user_of(reader, asked["user"]) if asked["user"] else None
        unknown = bool(asked["user"]) and user_id is None
        before = visit.asked("before")
        found, older = ([], None) if unknown else await _page(reader, asked, user_id, before)
        addresses = await emails(reader, (row["user_id"] for row in found))
        models = await reader.rows("select name from public.models order by name limit 200")
    renders = "storage" in resources_of(visit.request).settings.serve
    for row in found:
        row["thumbnail"] = thumbnail(row["public_url"], renders=renders)
    return visit.show(
        "generations.html",
        {
            "generations": found,
            "older": older,
            "chosen": asked,
            "before": before,
            "unknown": unknown,
            "emails": addresses,
            "models": [row["name"] for row in models],
            "statuses": STATUSES,
            "window": WINDOW,
        },
    )


async def _path_of(reader: Reader, text: str) -> str | None:
    """The page of a generation or a job whose id, or whose prediction's id, ``text`` is."""
    if id_ := uuid_of(text):
        if await reader.row(HAS_GENERATION, {"id": id_}):
            return f"/generations/{id_}"
        if await reader.row(HAS_JOB, {"id": id_}):
            return f"/jobs/{id_}"
    if text.isalnum() and not text.isalpha():
        row = await reader.row(BY_PREDICTION, {"q": text})
        return f"/generations/{row['id']}" if row and row["id"] else None
    return None


HAS_GENERATION = "select id from public.image_generations where id = %(id)s"
HAS_JOB = "select id from public.job_queue where id = %(id)s"


async def _page(
    reader: Reader, asked: dict[str, str], user_id: UUID | None, before: str
) -> tuple[list[dict[str, Any]], str | None]:
    """The generations, and the ``before`` of the next page."""
    at, id_ = place(before)
    window = WINDOW if asked["q"] or asked["model"] or asked["status"] else PAGE
    values = {
        "q": asked["q"],
        "like": like(asked["q"]),
        "model": asked["model"],
        "model_like": like(asked["model"]),
        "status": asked["status"] if asked["status"] in STATUSES else "",
        "user": user_id,
        "at": at,
        "id": id_,
        "window": window,
        "page": PAGE,
    }
    rows = await reader.rows(USER_PAGE if user_id else ALL_PAGE, values)
    return page_of(rows, PAGE, window)


def thumbnail(url: str | None, *, renders: bool) -> str | None:
    """A small form of a public picture where this gateway makes them; else the picture. None: only http(s) is shown."""
    if url is None or urlsplit(url).scheme not in {"http", "https"}:
        return None
    if renders and PUBLIC in url:
        return f"{url.replace(PUBLIC, RENDERED, 1)}?{THUMBNAIL}"
    return url
