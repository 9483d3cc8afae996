"""Copy, move and remove: rows and files, under the caller's role."""

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import access_of
from functions._platform.storage.answers import object_json
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import denied, no_object
from functions._platform.storage.keys import checked_key
from functions._platform.storage.rows import find_object, version_of, versions_of
from functions._platform.storage.writes import Destination, check_allowed, commit
from functions._shared.files.driver import Missing

MAX_PREFIXES = 1000


class CopyOrMove(BaseModel):
    bucketId: str
    sourceKey: str
    destinationKey: str
    destinationBucket: str | None = None


class Remove(BaseModel):
    prefixes: list[str] = Field(min_length=1, max_length=MAX_PREFIXES)


async def copy(request: Request) -> Response:
    """A second object of the same bytes and metadata; needs the right to read the one and write the other."""
    storage = storage_of(request)
    asked = await body_of(request, CopyOrMove)
    access = await access_of(request)
    async with storage.transaction(access) as connection:
        source = await find_object(connection, asked.bucketId, checked_key(asked.sourceKey))
    to = Destination.of(
        asked.destinationBucket or asked.bucketId,
        checked_key(asked.destinationKey),
        access,
        upsert=request.headers.get("x-upsert") == "true",
    )
    await check_allowed(storage, to)
    new = to.row(source["metadata"] or {}, source["user_metadata"])
    try:
        await storage.driver.copy(version_of(source), new.version)
    except Missing:
        raise no_object() from None
    object_id = await commit(storage, to, new)
    return JSONResponse({"Id": str(object_id), "Key": f"{to.bucket}/{to.key}"})


async def move(request: Request) -> Response:
    """One UPDATE: the file has the version's name, not the key's."""
    storage = storage_of(request)
    asked = await body_of(request, CopyOrMove)
    bucket = asked.destinationBucket or asked.bucketId
    key = checked_key(asked.destinationKey)
    async with storage.transaction(await access_of(request)) as connection:
        source = await find_object(connection, asked.bucketId, checked_key(asked.sourceKey))
        moved = await connection.execute(
            "update storage.objects set bucket_id = %s, name = %s, updated_at = now() where id = %s",
            (bucket, key, source["id"]),
        )
        if moved.rowcount == 0:  # visible, and no UPDATE policy
            raise denied("new row violates row-level security policy")
    return JSONResponse({"message": "Successfully moved"})


async def remove_many(request: Request) -> Response:
    """The removed objects; those that row-level security keeps from the caller are not among them."""
    bucket: str = request.path_params["bucket"]
    asked = await body_of(request, Remove)
    return JSONResponse(
        [object_json(row) for row in await _removed(request, bucket, asked.prefixes)]
    )


async def remove(request: Request) -> Response:
    rows = await _removed(request, request.path_params["bucket"], [request.path_params["path"]])
    if not rows:
        raise no_object()
    return JSONResponse({"message": "Successfully deleted"})


async def _removed(request: Request, bucket: str, keys: list[str]) -> list[dict[str, object]]:
    storage = storage_of(request)
    async with storage.transaction(await access_of(request)) as connection:
        deleted = await connection.execute(
            "delete from storage.objects where bucket_id = %s and name = any (%s) returning *",
            (bucket, [key for key in keys if "\0" not in key]),
        )
        rows = await deleted.fetchall()
    await storage.driver.remove(versions_of(rows))  # after the commit: a row never lacks its file
    return rows
