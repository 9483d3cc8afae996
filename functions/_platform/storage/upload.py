"""Uploads: POST and PUT of an object, and by a signed URL."""

from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage import rowless
from functions._platform.storage.access import SERVICE, access_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.keys import bucket_of, key_of
from functions._platform.storage.signing import in_url, signed_upload, verified
from functions._platform.storage.staging import Staged, header_metadata, staged
from functions._platform.storage.writes import Destination, admit, store


async def upload(request: Request) -> Response:
    """Write an object; 409 for an existing one, unless x-upsert or PUT."""
    bucket, key = bucket_of(request), key_of(request)
    access = await access_of(request)
    upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
    to = Destination.of(bucket, key, access, upsert=upsert)
    return await _received(request, to)


async def sign_upload(request: Request) -> Response:
    """``{url, token}`` of an upload without credentials; its right is checked now, under the caller's role."""
    storage = storage_of(request)
    bucket, key = bucket_of(request), key_of(request)
    upsert = request.headers.get("x-upsert") == "true"
    to = Destination.of(bucket, key, await access_of(request), upsert=upsert)
    # What the upload will send is not known yet; clients may announce its metadata.
    await admit(storage, to, None, None, header_metadata(request))
    token = signed_upload(storage.settings, f"{bucket}/{key}", owner=to.owner_id, upsert=upsert)
    url = f"/object/upload/sign/{in_url(bucket, key)}?token={token}"
    return JSONResponse({"url": url, "token": token})


async def upload_signed(request: Request) -> Response:
    storage = storage_of(request)
    bucket, key = bucket_of(request), key_of(request)
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
    storage, is_rowless = storage_of(request), False

    async def admitted(file: Staged, size: int | None) -> int:
        nonlocal is_rowless
        try:
            return await admit(storage, to, file.mime_type, size, file.user_metadata)
        except rowless.DOWN as error:
            if not rowless.is_kept_without_row(storage, to, error):
                raise
            is_rowless = True
            return storage.settings.upload_file_size_limit

    async with staged(request, storage.folder, admitted) as file:
        if is_rowless:
            await rowless.keep(storage, to, file.path)
            return _told(uuid4(), to)
        object_id = await store(storage, to, file)
    return _told(object_id, to)


def _told(object_id: UUID, to: Destination) -> JSONResponse:
    return JSONResponse({"Id": str(object_id), "Key": f"{to.bucket}/{to.key}"})
