"""Request body → checked model, or an InvalidRequest that names the field."""

import asyncio
import json
import zlib
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from functions._shared.errors import (
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

MAX_BODY_BYTES = 1024 * 1024
BODY_S = 60.0
"""What a whole body may take to arrive."""
GZIP = 16 + zlib.MAX_WBITS
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
REQUIRED = {"prompt": "Prompt is required", "model_id": "Model ID is required"}
"""Texts that clients know."""

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, model: type[M]) -> M:
    """The request's body as ``model``. Raises as read_object does."""
    return validate(model, await read_object(request, model))


async def read_object(request: Request, model: type[M]) -> dict[str, Any]:
    """The body as a JSON object, whatever its content type says; no body is ``{}``, where ``model`` takes that.

    Raises InvalidRequest, PayloadTooLarge, UnsupportedMediaType, RequestTimeout.
    """
    raw = await read_raw(request)
    if not raw:
        return _nothing(model)
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in FORMS:
            raise InvalidRequest(f"The body must be JSON, not {kind}") from None
        raise InvalidRequest("The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object")
    return body


def _nothing(model: type[M]) -> dict[str, Any]:
    """Some clients lose a body on its way: functions-js does where it is given an object and a Content-Type."""
    try:
        validate(model, {})
    except InvalidRequest as error:
        raise InvalidRequest(f"The request has no body: {error}") from None
    return {}


def validate(model: type[M], data: object) -> M:
    """``data`` as ``model``; raises InvalidRequest with one sentence for each field at fault."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise InvalidRequest("; ".join(_in_words(problem) for problem in problems)) from None


def _in_words(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "body"
    absent = problem["type"] in {"missing", "blank"} or problem["input"] is None
    return REQUIRED[field] if absent and field in REQUIRED else f"{field}: {problem['msg']}"


async def read_raw(request: Request) -> bytes:
    """The bytes that were meant, gzip undone.

    Raises PayloadTooLarge before reading on, UnsupportedMediaType, RequestTimeout.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:20]} is not supported: send gzip")
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(request, zipped=encoding == "gzip")
    except TimeoutError:
        raise RequestTimeout("The body took too long to arrive") from None


async def _read(request: Request, *, zipped: bool) -> bytes:
    unzip = zlib.decompressobj(wbits=GZIP) if zipped else None
    raw = bytearray()
    came = 0
    async for chunk in request.stream():
        # What comes counts as well as what it unfolds to: headers and empty blocks of gzip unfold to nothing.
        came += len(chunk)
        if came > MAX_BODY_BYTES:
            raise _too_large()
        # One byte beyond the limit tells enough: what a small body may unfold to is not unfolded.
        raw += _unzipped(unzip, chunk, MAX_BODY_BYTES + 1 - len(raw)) if unzip else chunk
        if len(raw) > MAX_BODY_BYTES:
            raise _too_large()
    if unzip and came and not unzip.eof:
        raise InvalidRequest("The body is not whole gzip")
    return bytes(raw)


def _unzipped(unzip: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    """At most ``most`` bytes. Raises InvalidRequest for what is no gzip, or goes on behind its end.

    RFC 1952 allows further members; nobody sends them, and zlib would keep all that follows the first.
    """
    try:
        unzipped = unzip.decompress(chunk, most)
    except zlib.error:
        raise InvalidRequest("The body is not valid gzip") from None
    if unzip.unused_data:
        raise InvalidRequest("The body goes on behind the end of its gzip")
    return unzipped


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES // 1024} KiB")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
