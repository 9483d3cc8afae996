"""Listing: v1 (folders and objects of one level, offset) and v2 (prefix, delimiter, keyset cursor)."""

import base64
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import access_of
from functions._platform.storage.answers import plain_json
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import StorageError
from functions._platform.storage.keys import Text, bucket_of
from functions._platform.storage.listing_sql import Level, by_name, by_time, flat, flat_by_time

MAX_LIMIT = 1000
Column = Literal["name", "updated_at", "created_at", "last_accessed_at"]


class SortBy(BaseModel):
    column: Column = "name"
    order: Text | None = "asc"

    @property
    def direction(self) -> Literal["asc", "desc"]:
        return "desc" if (self.order or "").lower() == "desc" else "asc"


class ListV1(BaseModel):
    prefix: Text = Field("", max_length=1024)
    limit: int = Field(100, ge=1)
    offset: int = Field(0, ge=0, lt=2**31)
    sortBy: SortBy | None = None
    search: Text | None = Field(None, max_length=1024)


class ListV2(BaseModel):
    prefix: Text = Field("", max_length=1024)
    limit: int = Field(MAX_LIMIT, ge=1)
    cursor: str | None = Field(None, max_length=4096)
    with_delimiter: bool = False
    sortBy: SortBy | None = None


class Cursor(BaseModel, extra="forbid"):
    """Where the next page begins: upstream's lines ``<letter>:<value>``, in base64."""

    l: Text = ""  # noqa: E741 - the names are upstream's
    """The name of the last entry."""
    o: Literal["asc", "desc"] = "asc"
    c: Column = "name"
    a: Text = ""
    """The last entry's time, where the order is by time."""

    def encoded(self) -> str:
        lines = [f"{name}:{value}" for name, value in self.model_dump().items() if value]
        return base64.b64encode("\n".join(lines).encode()).decode()

    @classmethod
    def decoded(cls, text: str) -> "Cursor":
        """Raises StorageError: InvalidParameter."""
        try:
            lines = base64.b64decode(text).decode().split("\n")
            pairs = dict(line.split(":", 1) for line in lines)
            return cls.model_validate(pairs)
        except ValueError:  # Pydantic's and base64's errors are ValueErrors
            told = "Invalid Parameter continuation token"
            raise StorageError(400, "InvalidParameter", told) from None


async def list_v1(request: Request) -> Response:
    """``search``: the beginning of a name, without regard to case, as upstream; it may go on into a folder."""
    asked = await body_of(request, ListV1)
    sort = asked.sortBy or SortBy()
    prefix = asked.prefix.strip("/")
    level = Level(bucket_of(request), f"{prefix}/" if prefix else "", asked.search or "")
    limit = min(asked.limit, MAX_LIMIT)
    if sort.column == "name":
        statement, values = by_name(level, sort.direction, limit, asked.offset)
    else:
        statement, values = by_time(level, sort.column, sort.direction, limit, asked.offset)
    rows = await _rows(request, statement, values)
    return JSONResponse(
        [plain_json({**row, "name": row["name"][len(level.prefix) :]}) for row in rows]
    )


async def list_v2(request: Request) -> Response:
    """``{hasNext, folders, objects, nextCursor}``; the cursor names the last entry (keyset pagination)."""
    asked = await body_of(request, ListV2)
    sort = asked.sortBy or SortBy()
    after = Cursor(o=sort.direction, c=sort.column)
    if asked.cursor:
        after = Cursor.decoded(asked.cursor)
    limit = min(asked.limit, MAX_LIMIT)
    level = Level(bucket_of(request), asked.prefix)
    rows = await _rows(request, *_statement(level, after, limit + 1, asked.with_delimiter))
    told: dict[str, Any] = {"hasNext": len(rows) > limit, "folders": [], "objects": []}
    for row in rows[:limit]:
        if row["id"] is None:
            name = f"{row['name']}/"
            told["folders"].append({"name": name, "key": name})
        else:
            told["objects"].append({**plain_json(row), "key": row["name"]})
    if told["hasNext"]:
        last = rows[limit - 1]
        name = last["name"] if last["id"] else f"{last['name']}/"
        at = last[after.c].isoformat() if after.c != "name" else ""
        told["nextCursor"] = after.model_copy(update={"l": name, "a": at}).encoded()
        told["nextCursorKey"] = name
    return JSONResponse(told)


def _statement(
    level: Level, after: Cursor, limit: int, delimited: bool
) -> tuple[str, dict[str, Any]]:
    if after.c == "name" and delimited:
        return by_name(level, after.o, limit, 0, after.l)
    if after.c == "name":
        return flat(level, after.o, limit, after.l)
    return flat_by_time(level, after.c, after.o, limit, (after.a, after.l), delimited=delimited)


async def _rows(request: Request, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    async with storage_of(request).transaction(await access_of(request)) as connection:
        # Text of this package, with column names of a Literal: all that a client sends is bound.
        found = await connection.execute(statement.encode(), values)
        return await found.fetchall()
