"""GET /functions/v1/openapi.json: what the functions take and answer, as OpenAPI 3.1.

A request's schema is made of the model that checks it; the rest is a literal table, which
tests/functions/gateway/test_openapi.py holds against the routes and what they answer.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from functions._shared.errors import (
    Conflict,
    Forbidden,
    FunctionError,
    GenerationFailed,
    InvalidRequest,
    KeyReused,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from functions.generate_image_legacy.request import LegacyRequest
from functions.process_generation.request import ProcessGenerationRequest
from functions.process_jobs.request import ProcessJobsRequest
from functions.start_generation.app import KEY, MAX_PROMPTS
from functions.start_generation.request import StartRequest

Json = dict[str, Any]

UUID: Json = {"type": "string", "format": "uuid"}
TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
TRUE: Json = {"const": True}


def _object(**properties: Json) -> Json:
    """All of them are always there; others may be."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


STARTED = _object(generation_id=UUID, job_id=UUID)
ANSWERS: dict[str, Json] = {
    "Error": _object(success={"const": False}, error=TEXT, message=TEXT, msg=TEXT, code=TEXT),
    "Started": {
        **_object(success=TRUE, status={"const": "queued"}, message=TEXT),
        "anyOf": [STARTED, _object(generations={"type": "array", "items": STARTED})],
    },
    "Generation": _object(
        id=UUID,
        user_id=UUID,
        status={
            "enum": [
                "pending",
                "queued",
                "processing",
                "downloading",
                "completed",
                "failed",
                "cancelled",
            ]
        },
        prompt=TEXT,
        progress={"type": ["integer", "null"], "minimum": 0, "maximum": 100},
        stage={"type": ["string", "null"]},
        error_message={"type": ["string", "null"]},
        images={"type": "array", "items": _ref("Image")},
    ),
    "Image": _object(id=UUID, public_url={"type": "string", "format": "uri"}, format=TEXT),
    "Cancelled": _object(success=TRUE, generation_id=UUID, status={"const": "cancelled"}),
    "Processed": _object(success=TRUE, processed=COUNT, errors=COUNT, message=TEXT),
    "Diagnosis": _object(
        success={"type": "boolean"},
        checks={
            "type": "object",
            "additionalProperties": _object(ok={"type": "boolean"}, detail=TEXT, ms=COUNT),
        },
    ),
    "Predicted": _object(success=TRUE),
    "Picture": {
        **_object(success=TRUE, generation_time=COUNT),
        "anyOf": [_object(url=TEXT, format=TEXT), _object(image=_ref("Image"))],
    },
}
ANYBODY = (RequestTimeout, PayloadTooLarge, TooManyRequests, Unavailable)
WITH_BODY = (InvalidRequest, Unauthorized, UnsupportedMediaType, *ANYBODY)
GENERATION_ID: Json = {"name": "generation_id", "in": "path", "required": True, "schema": TEXT}
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body within 24 hours are answered with the same ids.",
    "schema": {"type": "string", "pattern": f"^{KEY.pattern}$"},
}
LAST_EVENT_ID: Json = {"name": "Last-Event-ID", "in": "header", "schema": TEXT}


def _operation(
    summary: str,
    answer: Json,
    *refusals: type[FunctionError],
    body: str | None = None,
    parameters: list[Json] | None = None,
    caller: str = "user",
) -> Json:
    """``caller`` is who may: a signed-in user, the service role, or the provider, who signs."""
    operation: Json = {
        "summary": summary,
        "tags": [caller],
        "responses": {"200": answer, **_refused(refusals)},
        "security": [] if caller in {"provider", "anybody"} else [{"bearer": []}, {"apikey": []}],
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        content = {"application/json": {"schema": _ref(body)}}
        empty = body == ProcessJobsRequest.__name__
        operation["requestBody"] = {"required": not empty, "content": content}
    return operation


def _answer(name: str) -> Json:
    return {"description": name, "content": {"application/json": {"schema": _ref(name)}}}


def _refused(errors: tuple[type[FunctionError], ...]) -> Json:
    answer = _answer("Error")
    return {str(error.status): {**answer, "description": error.code} for error in errors}


PROCESS = _operation(
    "Run a batch of queued jobs",
    _answer("Processed"),
    *WITH_BODY,
    Forbidden,
    body="ProcessJobsRequest",
    caller="service",
)
DIAGNOSE = _operation(
    "Ask each part whether it has what it needs",
    _answer("Diagnosis"),
    Unauthorized,
    Forbidden,
    TooManyRequests,
    Unavailable,
    caller="service",
)
EVENTS: Json = {
    "description": "Server-sent events, until the generation has ended",
    "content": {"text/event-stream": {"schema": TEXT}},
}
OF_ONE = (Unauthorized, NotFound, TooManyRequests, Unavailable)
PATHS: dict[str, dict[str, Json]] = {
    "/start-generation": {
        "post": _operation(
            "Queue a generation, or one for each of several prompts",
            _answer("Started"),
            *WITH_BODY,
            Conflict,
            KeyReused,
            body="StartRequest",
            parameters=[IDEMPOTENCY_KEY],
        )
    },
    "/start-generation/{generation_id}": {
        "get": _operation(
            "A generation with its images",
            _answer("Generation"),
            *OF_ONE,
            parameters=[GENERATION_ID],
        ),
        "delete": _operation(
            "Cancel a generation",
            _answer("Cancelled"),
            *OF_ONE,
            Conflict,
            parameters=[GENERATION_ID],
        ),
    },
    "/start-generation/{generation_id}/events": {
        "get": _operation(
            "Status and progress as they change",
            EVENTS,
            *OF_ONE,
            parameters=[GENERATION_ID, LAST_EVENT_ID],
        )
    },
    "/process-jobs": dict.fromkeys(("get", "post", "put", "patch", "delete"), PROCESS),
    "/process-jobs-test": dict.fromkeys(("get", "post"), DIAGNOSE),
    "/process-generation": {
        "post": _operation(
            "Make one generation's pictures, and answer with their addresses",
            _answer("Predicted"),
            *WITH_BODY,
            Forbidden,
            NotFound,
            GenerationFailed,
            body="ProcessGenerationRequest",
            caller="service",
        )
    },
    "/process-generation/webhook": {
        "post": _operation(
            "The provider tells that a prediction has ended, signed as Standard Webhooks have it",
            _answer("Predicted"),
            *WITH_BODY,
            NotFound,
            parameters=[
                {"name": name, "in": "query", "required": True, "schema": schema}
                for name, schema in (("prediction", UUID), ("secret", TEXT))
            ],
            caller="provider",
        )
    },
    "/generate-image": {
        "post": _operation(
            "Make a picture, and answer when it is stored",
            _answer("Picture"),
            *WITH_BODY,
            NotFound,
            Conflict,
            GenerationFailed,
            body="LegacyRequest",
        )
    },
    "/openapi.json": {
        "get": _operation(
            "This document",
            {"description": "OpenAPI 3.1", "content": {"application/json": {}}},
            caller="anybody",
        )
    },
}


def document(base: str) -> Json:
    """The whole of it; ``base`` is the address that the paths are below."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Picture Edge", "version": version("picture-edge")},
        "servers": [{"url": base}],
        "paths": PATHS,
        "components": {
            "schemas": {**ANSWERS, **_bodies()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apikey": {"type": "apiKey", "in": "header", "name": "apikey"},
            },
        },
    }


def _bodies() -> Mapping[str, Json]:
    models: tuple[type[BaseModel], ...] = (
        ProcessGenerationRequest,
        LegacyRequest,
        ProcessJobsRequest,
    )
    start = StartRequest.model_json_schema()
    one = start["properties"]["prompt"]
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_PROMPTS}
    start["properties"]["prompt"] = {"anyOf": [one, several]}
    return {
        StartRequest.__name__: start,
        **{model.__name__: model.model_json_schema() for model in models},
    }
