"""Uploads: POST and PUT of an object, and by a signed URL."""

from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage import rowless
from functions._platform.storage.access import SERVICE, access_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.keys import checked_key
from functions._platform.storage.signing import signed_upload, verified
from functions._platform.storage.staging import staged
from functions._platform.storage.writes import Destination, check_allowed, limits_of, store


async def upload(request: Request) -> Response:
    """Write an object; 409 for an existing one, unless x-upsert or PUT."""
    key = checked_key(request.path_params["path"])
    access = await access_of(request)
    upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
    to = Destination.of(request.path_params["bucket"], key, access, upsert=upsert)
    return await _received(request, to)


async def sign_upload(request: Request) -> Response:
    """``{url, token}`` of an upload without credentials; its right is checked now, under the caller's role."""
    storage = storage_of(request)
    bucket, key = request.path_params["bucket"], checked_key(request.path_params["path"])
    upsert = request.headers.get("x-upsert") == "true"
    to = Destination.of(bucket, key, await access_of(request), upsert=upsert)
    await limits_of(storage, bucket)
    await check_allowed(storage, to)
    token = signed_upload(storage.settings, f"{bucket}/{key}", owner=to.owner_id, upsert=upsert)
    path = request.url.path.partition("/object/upload/sign/")[2]
    return JSONResponse({"url": f"/object/upload/sign/{path}?token={token}", "token": token})


async def upload_signed(request: Request) -> Response:
    storage = storage_of(request)
    bucket, key = request.path_params["bucket"], checked_key(request.path_params["path"])
    claims = verified(storage.settings, request, f"{bucket}/{key}", scope="upload")
    owner = claims.get("owner")
    to = Destination(
        bucket,
        key,
        SERVICE,
        upsert=claims.get("upsert") is True,
        owner_id=owner if isinstance(owner, str) else None,
    )
    return await _received(request, to)


async def _received(request: Request, to: Destination) -> Response:
    storage = storage_of(request)
    try:
        max_bytes, accept = await limits_of(storage, to.bucket)
        await check_allowed(storage, to)
    except rowless.DOWN as error:
        if not rowless.is_kept_without_row(storage, to, error):
            raise
        await rowless.keep(request, storage, to)
        return _told(uuid4(), to)
    async with staged(request, storage.folder, max_bytes, accept) as file:
        object_id = await store(storage, to, file)
    return _told(object_id, to)


def _told(object_id: UUID, to: Destination) -> JSONResponse:
    return JSONResponse({"Id": str(object_id), "Key": f"{to.bucket}/{to.key}"})
