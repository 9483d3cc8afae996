"""The endpoints of buckets: their rights are row-level security on storage.buckets."""

import re
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import access_of, owner_uuid, subject_of
from functions._platform.storage.answers import bucket_json
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import StorageError, denied, invalid_request, no_bucket
from functions._platform.storage.keys import checked_bucket
from functions._platform.storage.rows import find_bucket, versions_of

SIZE = re.compile(r"(\d{1,12})\s*(B|KB|MB|GB)?", re.IGNORECASE)
UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
BATCH = 1000
"""Objects that one transaction of an emptying removes."""


class Limits(BaseModel):
    """What may be left out or null; ``file_size_limit`` in bytes, or as 20MB."""

    public: bool | None = None
    file_size_limit: int | str | None = None
    allowed_mime_types: list[str] | None = None


class NewBucket(Limits):
    name: str
    id: str | None = None
    type: Literal["STANDARD"] | None = None


async def create(request: Request) -> Response:
    asked = await body_of(request, NewBucket)
    bucket = checked_bucket(asked.id or asked.name)
    access = await access_of(request)
    owner = subject_of(access)
    async with storage_of(request).transaction(access) as connection:
        await connection.execute(
            "insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            (
                bucket,
                checked_bucket(asked.name),
                owner_uuid(owner),
                owner,
                bool(asked.public),
                _bytes(asked.file_size_limit),
                _types(asked.allowed_mime_types),
            ),
        )
    return JSONResponse({"name": bucket})


async def every(request: Request) -> Response:
    async with storage_of(request).transaction(await access_of(request)) as connection:
        rows = await connection.execute("select * from storage.buckets order by id limit 1000")
        return JSONResponse([bucket_json(row) for row in await rows.fetchall()])


async def one(request: Request) -> Response:
    async with storage_of(request).transaction(await access_of(request)) as connection:
        row = await find_bucket(connection, request.path_params["bucket"])
    return JSONResponse(bucket_json(row))


async def update(request: Request) -> Response:
    """Members that are absent stay as they are; null takes a limit away."""
    asked = await body_of(request, Limits)
    bucket = request.path_params["bucket"]
    given = asked.model_fields_set
    async with storage_of(request).transaction(await access_of(request)) as connection:
        await find_bucket(connection, bucket)
        changed = await connection.execute(
            "update storage.buckets set public = coalesce(%s, public),"
            " file_size_limit = case when %s then %s else file_size_limit end,"
            " allowed_mime_types = case when %s then %s else allowed_mime_types end, updated_at = now()"
            " where id = %s",
            (
                asked.public,
                "file_size_limit" in given,
                _bytes(asked.file_size_limit),
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
    storage, bucket = storage_of(request), request.path_params["bucket"]
    access = await access_of(request)
    async with storage.transaction(access) as connection:
        await find_bucket(connection, bucket)
    while True:
        async with storage.transaction(access) as connection:
            deleted = await connection.execute(
                "delete from storage.objects where id in"
                " (select id from storage.objects where bucket_id = %s limit %s) returning version",
                (bucket, BATCH),
            )
            rows = await deleted.fetchall()
        await storage.driver.remove(versions_of(rows))
        if len(rows) < BATCH:
            break
    message = "Empty bucket has been queued. Completion may take up to an hour."
    return JSONResponse({"message": message})


async def delete(request: Request) -> Response:
    """Raises StorageError: 409 for a bucket with objects, also such as the caller cannot see (the foreign key)."""
    bucket = request.path_params["bucket"]
    async with storage_of(request).transaction(await access_of(request)) as connection:
        await find_bucket(connection, bucket)
        found = await connection.execute(
            "select exists (select from storage.objects where bucket_id = %s) as filled", (bucket,)
        )
        row = await found.fetchone()
        if row and row["filled"]:
            message = "The bucket you tried to delete is not empty"
            raise StorageError(409, "InvalidRequest", message, "ResourceNotEmpty")
        gone = await connection.execute("delete from storage.buckets where id = %s", (bucket,))
        if gone.rowcount == 0:
            raise no_bucket()
    return JSONResponse({"message": "Successfully deleted"})


def _bytes(limit: int | str | None) -> int | None:
    if limit is None or isinstance(limit, int):
        return limit
    found = SIZE.fullmatch(limit.strip())
    if not found:
        raise invalid_request("Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B")
    return int(found[1]) * UNITS[(found[2] or "B").upper()]


def _types(types: list[str] | None) -> list[str] | None:
    for one_type in types or []:
        if "/" not in one_type or "\0" in one_type:
            raise StorageError(
                415,
                "invalid_mime_type",
                f"mime type {one_type[:100]} is not supported",
                "InvalidMimeType",
            )
    return types or None
