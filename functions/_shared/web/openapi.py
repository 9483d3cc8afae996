"""OpenAPI 3.1 building blocks: each function's ``openapi.py`` builds its entry of them, the gateway the document.

The schema of a request body is made from the pydantic model that validates the body; schemas of responses are literals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from functions._shared.errors import (
    FunctionError,
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

Json = dict[str, Any]

Caller = Literal["user", "service", "provider", "anybody"]
"""Who may call an operation: a signed-in user, the service role, the provider by its signature, or anybody."""
WITHOUT_TOKEN = frozenset({"provider", "anybody"})


@dataclass(frozen=True)
class Entry:
    """What one function adds to the document: ``paths`` below /functions/v1, and the ``schemas`` they refer to."""

    paths: Mapping[str, Mapping[str, Json]]
    """Path → lower-case method → operation, made by ``operation``."""
    schemas: Mapping[str, Json]


UUID: Json = {"type": "string", "format": "uuid"}
TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
TRUE: Json = {"const": True}

ANY_REQUEST = (RequestTimeout, PayloadTooLarge, TooManyRequests, Unavailable)
WITH_BODY = (InvalidRequest, Unauthorized, UnsupportedMediaType, *ANY_REQUEST)
"""The errors of an operation that reads a body."""


def object_of(**properties: Json) -> Json:
    """An object schema: all ``properties`` are required, additional ones are allowed."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def ref(name: str) -> Json:
    """A reference to a schema of any entry, or to one of SHARED_SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


SHARED_SCHEMAS: Mapping[str, Json] = {
    "Error": object_of(success={"const": False}, error=TEXT, message=TEXT, msg=TEXT, code=TEXT),
    "Image": object_of(id=UUID, public_url={"type": "string", "format": "uri"}, format=TEXT),
}


def operation(
    summary: str,
    response: Json,
    *errors: type[FunctionError],
    body: str | None = None,
    body_required: bool = True,
    parameters: list[Json] | None = None,
    caller: Caller = "user",
) -> Json:
    """One operation: ``response`` is its 200, ``errors`` its other statuses, ``body`` names its body's schema.

    ``caller`` becomes the tag; tests/functions/gateway/test_who_may.py calls the route as each kind of caller.
    """
    described: Json = {
        "summary": summary,
        "tags": [caller],
        "responses": {"200": response, **_error_responses(errors)},
        "security": [] if caller in WITHOUT_TOKEN else [{"bearer": []}, {"apikey": []}],
    }
    if parameters:
        described["parameters"] = parameters
    if body:
        content = {"application/json": {"schema": ref(body)}}
        described["requestBody"] = {"required": body_required, "content": content}
    return described


def response_of(name: str) -> Json:
    """A JSON response whose body has the schema ``name``."""
    return {"description": name, "content": {"application/json": {"schema": ref(name)}}}


def _error_responses(errors: tuple[type[FunctionError], ...]) -> Json:
    response = response_of("Error")
    return {str(error.status): {**response, "description": error.code} for error in errors}
