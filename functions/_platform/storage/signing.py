"""Signed URLs: a JWT that names one object, for downloads and uploads without credentials."""

import time
from collections.abc import Mapping
from typing import Any, Literal

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.storage.access import access_of
from functions._platform.storage.bodies import body_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import StorageError
from functions._platform.storage.keys import Text, bucket_of, key_of
from functions._platform.storage.rows import find_object
from functions._shared.settings import Settings

MAX_PATHS = 1000
LOST = "Either the object does not exist or you do not have access to it"
Scope = Literal["download", "upload"]


class Transform(BaseModel):
    """Of a signed picture; further members are ignored."""

    width: int | None = None
    height: int | None = None
    resize: Literal["cover", "contain", "fill"] | None = None
    quality: int | None = Field(None, ge=20, le=100)
    format: Literal["origin", "webp", "avif"] | None = None


class SignOne(BaseModel):
    expiresIn: int = Field(ge=1, lt=2**40)
    transform: Transform | None = None


class SignMany(BaseModel):
    expiresIn: int = Field(ge=1, lt=2**40)
    paths: list[Text] = Field(min_length=1, max_length=MAX_PATHS)


async def sign(request: Request) -> Response:
    """``{signedURL}``, relative to /storage/v1, of an object that the caller may read."""
    storage = storage_of(request)
    bucket, key = bucket_of(request), key_of(request)
    asked = await body_of(request, SignOne)
    async with storage.transaction(await access_of(request)) as connection:
        await find_object(connection, bucket, key)
    transform = asked.transform.model_dump(exclude_none=True) if asked.transform else {}
    named = ",".join(f"{name}:{value}" for name, value in transform.items() if name != "format")
    more = {"transformations": named, "format": transform.get("format", "")} if transform else {}
    token = _signed(storage.settings, f"{bucket}/{key}", asked.expiresIn, "download", **more)
    route = "/render/image/sign" if transform else "/object/sign"
    return JSONResponse({"signedURL": f"{route}/{in_url(bucket, key)}?token={token}"})


async def sign_many(request: Request) -> Response:
    """One entry per path, in their order; an error in place of the URL of one that the caller may not read."""
    storage = storage_of(request)
    bucket = bucket_of(request)
    asked = await body_of(request, SignMany)
    async with storage.transaction(await access_of(request)) as connection:
        rows = await connection.execute(
            "select name from storage.objects where bucket_id = %s and name = any (%s)",
            (bucket, asked.paths),
        )
        found = {row["name"] for row in await rows.fetchall()}
    told: list[dict[str, str | None]] = []
    for path in asked.paths:
        if path not in found:
            told.append({"error": LOST, "path": path, "signedURL": None})
            continue
        token = _signed(storage.settings, f"{bucket}/{path}", asked.expiresIn, "download")
        url = f"/object/sign/{in_url(bucket, path)}?token={token}"
        told.append({"error": None, "path": path, "signedURL": url})
    return JSONResponse(told)


def signed_upload(settings: Settings, url: str, *, owner: str | None, upsert: bool) -> str:
    """``url``: <bucket>/<key>."""
    seconds = settings.signed_upload_url_expiration_time
    return _signed(settings, url, seconds, "upload", owner=owner, upsert=upsert)


def verified(settings: Settings, request: Request, url: str, *, scope: Scope) -> Mapping[str, Any]:
    """The claims of the query's token, where it names ``url`` and ``scope``. Raises StorageError: InvalidJWT."""
    return verified_token(settings, request.query_params.get("token", ""), url, scope=scope)


def verified_token(settings: Settings, token: str, url: str, *, scope: Scope) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, _key(settings), "HS256", options={"require_exp": True}
        )
    except ExpiredSignatureError:
        raise _invalid_jwt('"exp" claim timestamp check failed') from None
    except JOSEError:
        raise _invalid_jwt("signature verification failed") from None
    # Tokens that upstream signed before it had scopes: those of uploads are known by their upsert.
    named = claims.get("scope") or ("upload" if "upsert" in claims else "download")
    if claims.get("url") != url or named != scope:
        told = "Invalid signature" if named == scope else f"Token is not scoped for {scope}"
        raise StorageError(400, "InvalidSignature", told)
    return claims


def signed_transformation(claims: Mapping[str, Any]) -> dict[str, Any]:
    """What a token says of a picture: upstream's ``transformations``, "width:100,resize:cover", and ``format``."""
    named, image_format = claims.get("transformations"), claims.get("format")
    pairs = named.split(",") if isinstance(named, str) and named else []
    found: dict[str, Any] = dict(pair.split(":", 1) for pair in pairs if ":" in pair)
    return {**found, "format": image_format} if image_format else found


def in_url(bucket: str, key: str) -> str:
    """``<bucket>/<key>`` as upstream tells it, unescaped for clients to escape; but ? would begin the query."""
    return f"{bucket}/{key}".replace("?", "%3F")


def _signed(settings: Settings, url: str, seconds: int, scope: Scope, **more: Any) -> str:
    now = int(time.time())
    claims = {"url": url, "scope": scope, **more, "iat": now, "exp": now + seconds}
    return str(jwt.encode(claims, _key(settings), "HS256"))


def _key(settings: Settings) -> str:
    """The JWT secret, as upstream: URLs signed before a move stay valid. Without one, the service key is the secret.

    No session follows from such a token: it has no role.
    """
    secret = settings.supabase_jwt_secret or settings.supabase_service_role_key
    return secret.get_secret_value()


def _invalid_jwt(message: str) -> StorageError:
    return StorageError(400, "InvalidJWT", message)
