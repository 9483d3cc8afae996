"""Copy, move and remove: rows and files, under the caller's role."""

from typing import Any

from psycopg.rows import DictRow
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import SERVICE, access_of, owner_uuid, subject_of
from functions._platform.storage.answers import now_json, object_json
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.download import ATTEMPTS
from functions._platform.storage.errors import denied, no_object
from functions._platform.storage.keys import Text, bucket_of, checked_bucket, checked_key, key_of
from functions._platform.storage.rows import find_object, version_of, versions_of
from functions._platform.storage.staging import header_metadata
from functions._platform.storage.writes import Destination, admit, commit
from functions._shared.files.driver import Missing

MAX_PREFIXES = 1000


class Move(BaseModel):
    bucketId: Text
    sourceKey: Text
    destinationKey: Text
    destinationBucket: Text | None = None


class NewMetadata(BaseModel):
    cacheControl: Text | None = None
    mimetype: Text | None = None


class Copy(Move):
    metadata: NewMetadata | None = None
    copyMetadata: bool = True


class Remove(BaseModel):
    prefixes: list[Text] = Field(min_length=1, max_length=MAX_PREFIXES)


async def copy(request: Request) -> Response:
    """A second object of the same bytes and metadata; needs the right to read the one and write the other."""
    storage = storage_of(request)
    asked = await body_of(request, Copy)
    access = await access_of(request)
    to = Destination.of(
        checked_bucket(asked.destinationBucket or asked.bucketId),
        checked_key(asked.destinationKey),
        access,
        upsert=request.headers.get("x-upsert") == "true",
    )
    for _ in range(ATTEMPTS):  # an upload may replace the source meanwhile
        async with storage.transaction(access) as connection:
            source = await find_object(connection, asked.bucketId, checked_key(asked.sourceKey))
        new = to.row(*_copied(asked, source, request))
        metadata = new.metadata
        await admit(storage, to, metadata.get("mimetype"), metadata.get("size"), new.user_metadata)
        try:
            await storage.driver.copy(version_of(source), new.version)
        except Missing:
            continue
        await commit(storage, to, new)
        async with storage.transaction(SERVICE) as connection:
            row = await find_object(connection, to.bucket, to.key)
        return JSONResponse(
            {**object_json(row), "Id": str(row["id"]), "Key": f"{to.bucket}/{to.key}"}
        )
    raise no_object()


def _copied(asked: Copy, source: DictRow, request: Request) -> tuple[Any, Any]:
    """Metadata and user metadata of the copy."""
    metadata = {**(source["metadata"] or {}), "lastModified": now_json()}
    if asked.copyMetadata:
        return metadata, source["user_metadata"]
    given = asked.metadata.model_dump(exclude_none=True) if asked.metadata else {}
    return {**metadata, **given}, header_metadata(request)


async def move(request: Request) -> Response:
    """One UPDATE: the file has the version's name, not the key's."""
    storage = storage_of(request)
    asked = await body_of(request, Move)
    bucket = checked_bucket(asked.destinationBucket or asked.bucketId)
    key = checked_key(asked.destinationKey)
    access = await access_of(request)
    owner = subject_of(access)
    async with storage.transaction(access) as connection:
        source = await find_object(connection, asked.bucketId, checked_key(asked.sourceKey))
        moved = await connection.execute(
            "update storage.objects set bucket_id = %s, name = %s, owner = %s, owner_id = %s, updated_at = now()"
            " where id = %s",
            (bucket, key, owner_uuid(owner), owner, source["id"]),
        )
        if moved.rowcount == 0:  # visible, and no UPDATE policy
            raise denied("new row violates row-level security policy")
    return JSONResponse({"message": "Successfully moved", "Id": str(source["id"]), "Key": key})


async def remove_many(request: Request) -> Response:
    """The removed objects; those that row-level security keeps from the caller are not among them."""
    bucket = bucket_of(request)
    asked = await body_of(request, Remove)
    return JSONResponse(
        [object_json(row) for row in await _removed(request, bucket, asked.prefixes)]
    )


async def remove(request: Request) -> Response:
    rows = await _removed(request, bucket_of(request), [key_of(request)])
    if not rows:
        raise no_object()
    return JSONResponse({"message": "Successfully deleted"})


async def _removed(request: Request, bucket: str, keys: list[str]) -> list[dict[str, object]]:
    storage = storage_of(request)
    async with storage.transaction(await access_of(request)) as connection:
        deleted = await connection.execute(
            "delete from storage.objects where bucket_id = %s and name = any (%s) returning *",
            (bucket, keys),
        )
        rows = await deleted.fetchall()
    await storage.discard(versions_of(rows))  # after the commit: a row never lacks its file
    return rows
