"""The endpoints of buckets: their rights are row-level security on storage.buckets."""

import re
from typing import Literal
from uuid import UUID

import psycopg
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import access_of, owner_uuid, subject_of
from functions._platform.storage.answers import bucket_json
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import (
    StorageError,
    denied,
    invalid_mime_type,
    invalid_request,
    no_bucket,
    too_large,
)
from functions._platform.storage.keys import Text, bucket_of, checked_bucket
from functions._platform.storage.rows import Connection, find_bucket, versions_of
from functions._shared.errors import InvalidRequest
from functions._shared.web.bodies import validate

SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(B|KB|MB|GB)", re.IGNORECASE)
UNITS = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
"""Decimal, as upstream."""
MIME_TYPE = re.compile(
    r"[A-Za-z0-9.+-]{1,200}/(?:\*|[A-Za-z0-9.+-]{1,200}(?:;\s*charset=[A-Za-z0-9-]{1,100})?)|\*/\*"
)
BATCH = 1000
"""Objects that one transaction of an emptying removes."""


class Limits(BaseModel):
    """What may be left out or null; ``file_size_limit`` in bytes, or as 20MB."""

    public: bool | None = None
    file_size_limit: int | str | None = Field(None, union_mode="left_to_right")
    allowed_mime_types: list[Text] | None = None


class NewBucket(Limits):
    name: str
    id: str | None = None
    type: Literal["STANDARD"] | None = None


class Page(BaseModel):
    """The query of a list. ``search``: a part of the name, without regard to case."""

    limit: int = Field(1000, ge=1, lt=2**31)
    offset: int = Field(0, ge=0, lt=2**31)
    sortColumn: Literal["id", "name", "created_at", "updated_at"] = "id"
    sortOrder: Literal["asc", "desc"] = "asc"
    search: Text = Field("", max_length=1000)


EVERY = """
select * from storage.buckets where strpos(lower(name), %(search)s) > 0 or %(search)s = ''
order by {column} {order}, id limit %(limit)s offset %(offset)s
"""


async def create(request: Request) -> Response:
    asked = await body_of(request, NewBucket)
    bucket = checked_bucket(asked.id or asked.name)
    access = await access_of(request)
    owner, storage = subject_of(access), storage_of(request)
    async with storage.transaction(access) as connection:
        await connection.execute(
            "insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            (
                bucket,
                checked_bucket(asked.name),
                owner_uuid(owner),
                owner,
                bool(asked.public),
                _bytes(asked.file_size_limit, storage.settings.upload_file_size_limit),
                _types(asked.allowed_mime_types),
            ),
        )
    return JSONResponse({"name": bucket})


async def every(request: Request) -> Response:
    asked = _page(request)
    statement = EVERY.replace("{column}", asked.sortColumn).replace("{order}", asked.sortOrder)
    values = {"search": asked.search.lower(), "limit": asked.limit, "offset": asked.offset}
    async with storage_of(request).transaction(await access_of(request)) as connection:
        # Column and order are of a Literal: all else that a client sends is bound.
        rows = await connection.execute(statement.encode(), values)
        return JSONResponse([bucket_json(row) for row in await rows.fetchall()])


def _page(request: Request) -> Page:
    """Raises StorageError: InvalidRequest."""
    try:
        return validate(Page, dict(request.query_params))
    except InvalidRequest as error:
        raise invalid_request(str(error)) from None


async def one(request: Request) -> Response:
    async with storage_of(request).transaction(await access_of(request)) as connection:
        row = await find_bucket(connection, bucket_of(request))
    return JSONResponse(bucket_json(row))


async def update(request: Request) -> Response:
    """Members that are absent stay as they are; null takes a limit away."""
    asked = await body_of(request, Limits)
    bucket, storage = bucket_of(request), storage_of(request)
    given = asked.model_fields_set
    if not given:
        raise invalid_request("No content provided")
    async with storage.transaction(await access_of(request)) as connection:
        await find_bucket(connection, bucket)
        changed = await connection.execute(
            "update storage.buckets set public = coalesce(%s, public),"
            " file_size_limit = case when %s then %s else file_size_limit end,"
            " allowed_mime_types = case when %s then %s else allowed_mime_types end, updated_at = now()"
            " where id = %s",
            (
                asked.public,
                "file_size_limit" in given,
                _bytes(asked.file_size_limit, storage.settings.upload_file_size_limit),
                "allowed_mime_types" in given,
                _types(asked.allowed_mime_types),
                bucket,
            ),
        )
        if changed.rowcount == 0:
            raise denied("new row violates row-level security policy")
    return JSONResponse({"message": "Successfully updated"})


async def empty(request: Request) -> Response:
    """Remove all objects that the caller may delete, in batches."""
    storage, bucket = storage_of(request), bucket_of(request)
    access = await access_of(request)
    async with storage.transaction(access) as connection:
        await find_bucket(connection, bucket)
    after: UUID | None = UUID(int=0)
    while after:
        async with storage.transaction(access) as connection:
            after, versions = await _emptied(connection, bucket, after)
        await storage.discard(versions)
    message = "Empty bucket has been queued. Completion may take up to an hour."
    return JSONResponse({"message": message})


async def _emptied(
    connection: Connection, bucket: str, after: UUID
) -> tuple[UUID | None, list[UUID]]:
    """Remove a batch: the last id that was looked at (None: no more) and the versions of the removed objects.

    Keyset pagination: objects that the caller sees and may not delete do not hold up the others.
    """
    found = await connection.execute(
        "select id from storage.objects where bucket_id = %s and id > %s order by id limit %s",
        (bucket, after, BATCH),
    )
    ids = [row["id"] for row in await found.fetchall()]
    deleted = await connection.execute(
        "delete from storage.objects where id = any (%s) returning version", (ids,)
    )
    return (ids[-1] if len(ids) == BATCH else None), versions_of(await deleted.fetchall())


async def delete(request: Request) -> Response:
    """Raises StorageError: 409 for a bucket with objects, also such as the caller cannot see (the foreign key)."""
    bucket = bucket_of(request)
    try:
        async with storage_of(request).transaction(await access_of(request)) as connection:
            await find_bucket(connection, bucket)
            gone = await connection.execute("delete from storage.buckets where id = %s", (bucket,))
            if gone.rowcount == 0:
                raise no_bucket()
    except psycopg.errors.ForeignKeyViolation:
        message = "The bucket you tried to delete is not empty"
        raise StorageError(409, "ResourceNotEmpty", message) from None
    return JSONResponse({"message": "Successfully deleted"})


def _bytes(limit: int | str | None, most: int) -> int | None:
    """Raises StorageError: no size, or more than the service's own limit."""
    if isinstance(limit, str):
        found = SIZE.fullmatch(limit)
        if not found:
            raise invalid_request("Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B")
        limit = round(float(found[1]) * UNITS[found[2].upper()])
    if limit is not None and limit > most:
        raise too_large()
    return limit


def _types(types: list[str] | None) -> list[str] | None:
    for one_type in types or []:
        if not MIME_TYPE.fullmatch(one_type):
            raise invalid_mime_type(one_type)
    return types or None
