"""Request body → validated model, or an InvalidRequest that names the field."""

import asyncio
import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from functions._shared.errors import (
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from functions._shared.web.unpacking import (
    BadGzip,
    CutShort,
    TooLong,
    UnknownEncoding,
    Unpacker,
)

MAX_BODY_BYTES = 1024 * 1024
BODY_S = 60.0
"""Overall deadline of a body (slow-read attack: a read timeout would be reset by every byte)."""
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
REQUIRED = {"prompt": "Prompt is required", "model_id": "Model ID is required"}
"""Texts of the original, which clients know."""

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, model: type[M]) -> M:
    """The request's body as ``model``. Raises as read_object does."""
    return validate(model, await read_object(request, model))


async def read_object(request: Request, model: type[M]) -> dict[str, Any]:
    """The body as a JSON object, whatever its Content-Type; no body is ``{}``, where ``model`` accepts that.

    Raises InvalidRequest, PayloadTooLarge, UnsupportedMediaType, RequestTimeout.
    """
    raw = await read_raw(request)
    if not raw:
        return _nothing(model)
    try:
        body = _parsed(raw)
    except (ValueError, RecursionError):
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in FORMS:
            raise InvalidRequest(f"The body must be JSON, not {kind}") from None
        raise InvalidRequest("The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object")
    return body


def _parsed(raw: bytes) -> Any:
    """The JSON value. Raises ValueError, RecursionError."""
    try:
        return from_json(raw, allow_inf_nan=False)  # pydantic's parser: several times as fast
    except ValueError:
        # Python's parser has the last word: it also reads lone surrogates, which are refused by the field's name,
        # deeper nesting, and UTF-16.
        return json.loads(raw, parse_constant=_refuse_constant)


def _nothing(model: type[M]) -> dict[str, Any]:
    """An empty body, named as the cause: functions-js sends none for an object with a Content-Type of the caller's."""
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
        problems = error.errors(include_url=False)
        raise InvalidRequest("; ".join(_in_words(problem) for problem in problems)) from None


def _in_words(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "body"
    absent = problem["type"] in {"missing", "blank"} or problem["input"] is None
    if absent and field in REQUIRED:
        return REQUIRED[field]
    if problem["type"] == "too_long" and isinstance(problem["input"], str):
        # Pydantic counts "items after validation" where a validator of ours comes before the length.
        return f"{field}: must have at most {problem['ctx']['max_length']} characters"
    return f"{field}: {problem['msg']}"


async def read_raw(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body's bytes, decompressed; ``limit``: the most of them.

    Raises PayloadTooLarge before reading on, InvalidRequest, UnsupportedMediaType, RequestTimeout.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    try:
        unpacker = Unpacker(request.headers.get("content-encoding"), limit)
        async with asyncio.timeout(BODY_S):
            return await _read(request, unpacker)
    except UnknownEncoding as unknown:
        raise UnsupportedMediaType(
            f"Content-Encoding {unknown} is not supported: send gzip"
        ) from None
    except BadGzip:
        raise InvalidRequest("The body is not valid gzip") from None
    except CutShort:
        raise InvalidRequest("The body is not whole gzip") from None
    except TooLong:
        raise _too_large(limit) from None
    except TimeoutError:
        raise RequestTimeout("The body took too long to arrive") from None


async def _read(request: Request, unpacker: Unpacker) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += unpacker.feed(chunk)
        if unpacker.trailing:  # RFC 1952 allows further members; no client sends them
            raise InvalidRequest("The body goes on behind the end of its gzip")
    unpacker.end()
    return bytes(raw)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit // 1024} KiB")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
