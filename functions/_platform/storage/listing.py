"""Listing: v1 (folders and objects of one level, offset) and v2 (prefix, delimiter, keyset cursor)."""

import base64
import json
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import access_of
from functions._platform.storage.answers import plain_json
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import invalid_request
from functions._shared.foreign import text as foreign_text

V1 = """
with here as (
    select *, substr(name, length(%(prefix)s) + 1) as rest from storage.objects
    where bucket_id = %(bucket)s and starts_with(name, %(prefix)s)
        and starts_with(lower(substr(name, length(%(prefix)s) + 1)), lower(%(search)s))
)
select * from (
    select split_part(rest, '/', 1) as name, null::uuid as id, null::timestamptz as updated_at,
        null::timestamptz as created_at, null::timestamptz as last_accessed_at, null::jsonb as metadata
    from here where strpos(rest, '/') > 0 group by 1
    union all
    select rest, id, updated_at, created_at, last_accessed_at, metadata from here
    where strpos(rest, '/') = 0 and rest <> ''
) as entry
order by {order} limit %(limit)s offset %(offset)s
"""
V2 = """
with entry as (
    select case when %(delimited)s and strpos(substr(name, length(%(prefix)s) + 1), '/') > 0
        then %(prefix)s || split_part(substr(name, length(%(prefix)s) + 1), '/', 1) || '/' else name end as name,
        case when %(delimited)s and strpos(substr(name, length(%(prefix)s) + 1), '/') > 0 then null else id end as id,
        updated_at, created_at, last_accessed_at, metadata
    from storage.objects where bucket_id = %(bucket)s and starts_with(name, %(prefix)s)
), grouped as (
    select name, id, max(updated_at) as updated_at, max(created_at) as created_at,
        max(last_accessed_at) as last_accessed_at, (array_agg(metadata))[1] as metadata
    from entry group by name, id
)
select *, {key}::text as sort_key from grouped
where %(after_name)s::text is null or ({key}, name collate "C") {than} ({after}, %(after_name)s collate "C")
order by {key} {order}, name collate "C" {order} limit %(limit)s
"""
Column = Literal["name", "updated_at", "created_at", "last_accessed_at"]


class SortBy(BaseModel):
    column: Column = "name"
    order: str | None = "asc"

    @property
    def direction(self) -> str:
        return "desc" if (self.order or "").lower() == "desc" else "asc"


class ListV1(BaseModel):
    prefix: str = Field("", max_length=1024)
    limit: int = Field(100, ge=1)
    offset: int = Field(0, ge=0, lt=2**31)
    sortBy: SortBy | None = None
    search: str | None = Field(None, max_length=1024)


class ListV2(BaseModel):
    prefix: str = Field("", max_length=1024)
    limit: int = Field(1000, ge=1)
    cursor: str | None = Field(None, max_length=4096)
    with_delimiter: bool = False
    sortBy: SortBy | None = None


async def list_v1(request: Request) -> Response:
    asked = await body_of(request, ListV1)
    sort = asked.sortBy or SortBy()
    prefix = asked.prefix.strip("/")
    # Folders have no times: before the objects where these are sorted by time.
    order = (
        f'name collate "C" {sort.direction}'
        if sort.column == "name"
        else f'id is not null, {sort.column} {sort.direction}, name collate "C"'
    )
    values = {
        "bucket": request.path_params["bucket"],
        "prefix": _sendable(f"{prefix}/" if prefix else ""),
        "search": _sendable(asked.search or ""),
        "limit": min(asked.limit, 1000),
        "offset": asked.offset,
    }
    rows = await _rows(request, V1.replace("{order}", order), values)
    return JSONResponse([plain_json(row) for row in rows])


async def list_v2(request: Request) -> Response:
    """``{hasNext, folders, objects, nextCursor}``; the cursor names the last entry (keyset pagination)."""
    asked = await body_of(request, ListV2)
    sort, after_key, after_name = asked.sortBy or SortBy(), None, None
    if asked.cursor:
        sort, after_key, after_name = _from_cursor(asked.cursor)
    is_name = sort.column == "name"
    limit = min(asked.limit, 1000)
    statement = (
        V2.replace("{key}", 'name collate "C"' if is_name else sort.column)
        .replace(
            "{after}", '%(after_name)s collate "C"' if is_name else "%(after_key)s::timestamptz"
        )
        .replace("{than}", "<" if sort.direction == "desc" else ">")
        .replace("{order}", sort.direction)
    )
    values = {
        "bucket": request.path_params["bucket"],
        "prefix": _sendable(asked.prefix),
        "delimited": asked.with_delimiter,
        "after_key": after_key,
        "after_name": after_name,
        "limit": limit + 1,
    }
    rows = await _rows(request, statement, values)
    told: dict[str, Any] = {"hasNext": len(rows) > limit, "folders": [], "objects": []}
    for row in rows[:limit]:
        entry = plain_json({name: value for name, value in row.items() if name != "sort_key"})
        if row["id"] is None:
            told["folders"].append({"name": row["name"], "key": row["name"]})
        else:
            told["objects"].append({**entry, "key": row["name"]})
    if told["hasNext"]:
        last = rows[limit - 1]
        told["nextCursor"] = _cursor(sort, last["sort_key"], last["name"])
        told["nextCursorKey"] = last["name"]
    return JSONResponse(told)


async def _rows(request: Request, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    async with storage_of(request).transaction(await access_of(request)) as connection:
        # Text of this module, with column names of a Literal: all that a client sends is bound.
        found = await connection.execute(statement.encode(), values)
        return await found.fetchall()


def _sendable(text: str) -> str:
    return foreign_text(text.replace("\0", ""), 1024)


def _cursor(sort: SortBy, key: str, name: str) -> str:
    text = json.dumps([sort.column, sort.direction, key, name])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _from_cursor(cursor: str) -> tuple[SortBy, str, str]:
    try:
        column, order, key, name = json.loads(base64.urlsafe_b64decode(cursor))
        sort = SortBy.model_validate({"column": column, "order": order})
    except (ValueError, TypeError):
        raise invalid_request("Invalid cursor") from None
    if not isinstance(key, str) or not isinstance(name, str) or "\0" in key + name:
        raise invalid_request("Invalid cursor")
    return sort, key, name
