"""Request bodies: JSON objects with GoTrue's reading of them, and its error for what is none."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from starlette.requests import Request

from functions._platform.auth.errors import AuthError
from functions._shared import foreign
from functions._shared.errors import PayloadTooLarge
from functions._shared.web.bodies import MAX_BODY_BYTES, read_raw

P = TypeVar("P", bound="Params")


class Params(BaseModel):
    """Parameters of a request, decoded as Go does: unknown members are ignored, null is absent, types are strict."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


async def read_params(request: Request, model: type[P]) -> P:
    """The body as ``model``; its text is storable: NUL and lone surrogates become U+FFFD.

    Raises AuthError bad_json, request_entity_too_large; FunctionErrors of ``read_raw``.
    """
    try:
        raw = await read_raw(request)
    except PayloadTooLarge:
        raise AuthError(
            413,
            "request_entity_too_large",
            f"Request body too large (max {MAX_BODY_BYTES} bytes)",
        ) from None
    try:
        body = foreign.read_json(raw)
    except (ValueError, RecursionError):
        raise _bad_json("it is not valid JSON") from None
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the body"
        raise _bad_json(f"{foreign.text(field, 100)}: {first['msg']}") from None


def _bad_json(why: str) -> AuthError:
    return AuthError(400, "bad_json", f"Could not parse request body as JSON: {why}")
