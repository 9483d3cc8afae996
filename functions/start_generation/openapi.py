"""The OpenAPI entry of start-generation: its operations, who may call them, what they take and answer."""

from functions._shared.errors import (
    Conflict,
    InvalidRequest,
    KeyReused,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from functions._shared.web.openapi import (
    COUNT,
    TEXT,
    TRUE,
    UUID,
    WITH_BODY,
    Entry,
    Json,
    object_of,
    operation,
    ref,
    response_of,
)
from functions.start_generation.request import IDEMPOTENCY_KEY, MAX_PROMPTS, StartRequest


def _body() -> Json:
    """StartRequest's schema, whose prompt may be an array as well: each is validated as a StartRequest of its own."""
    schema = StartRequest.model_json_schema()
    one = schema["properties"]["prompt"]
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_PROMPTS}
    schema["properties"]["prompt"] = {"anyOf": [one, several]}
    return schema


STARTED = object_of(generation_id=UUID, job_id=UUID)
STATUSES = ["pending", "queued", "processing", "downloading", "completed", "failed", "cancelled"]
SCHEMAS = {
    "StartRequest": _body(),
    "Started": {
        **object_of(success=TRUE, status={"const": "queued"}, message=TEXT),
        "anyOf": [STARTED, object_of(generations={"type": "array", "items": STARTED})],
    },
    "Generation": object_of(
        id=UUID,
        user_id=UUID,
        status={"enum": STATUSES},
        prompt=TEXT,
        progress={"type": ["integer", "null"], "minimum": 0, "maximum": 100},
        stage={"type": ["string", "null"]},
        error_message={"type": ["string", "null"]},
        images={"type": "array", "items": ref("Image")},
    ),
    "Generations": object_of(
        success=TRUE,
        generations={"type": "array", "items": ref("Generation")},
        next={"type": ["string", "null"]},
    ),
    "Ticket": object_of(ticket=TEXT, expires_in=COUNT),
    "Cancelled": object_of(
        success=TRUE, generation_id=UUID, status={"enum": ["cancelled", "deleted"]}
    ),
}
GENERATION_ID: Json = {"name": "generation_id", "in": "path", "required": True, "schema": UUID}
KEY_HEADER: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body within 24 hours are answered with the same ids.",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
}
TICKET: Json = {
    "name": "ticket",
    "in": "query",
    "description": "In place of a token, for an EventSource: it sends no headers of the page's choice.",
    "schema": TEXT,
}
LAST_EVENT_ID: Json = {"name": "Last-Event-ID", "in": "header", "schema": TEXT}
EVENTS: Json = {
    "description": "Server-sent events, until the generation has ended",
    "content": {"text/event-stream": {"schema": TEXT}},
}
LISTING: list[Json] = [
    {
        "name": "status",
        "in": "query",
        "description": "One or several, with commas",
        "schema": {
            "type": "string",
            "pattern": f"^({'|'.join(STATUSES)})(,({'|'.join(STATUSES)}))*$",
        },
    },
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    {
        "name": "before",
        "in": "query",
        "description": "A time in ISO 8601, or the next of the page before, which is one with an id behind it",
        "schema": {"type": "string", "format": "date-time"},
    },
]
ONLY: Json = {
    "name": "only",
    "in": "query",
    "description": "cancel: 409 for a completed or failed one, nothing is deleted. "
    "delete: 409 for one that runs; a cancelled one is deleted as well",
    "schema": {"enum": ["cancel", "delete"]},
}
OF_ONE = (Unauthorized, NotFound, TooManyRequests, Unavailable)
"""The errors of an operation on one generation."""

ENTRY = Entry(
    {
        "/start-generation": {
            "post": operation(
                "Queue a generation, or one for each of several prompts",
                response_of("Started"),
                *WITH_BODY,
                Conflict,
                KeyReused,
                body="StartRequest",
                parameters=[KEY_HEADER],
                caller="user",
            ),
            "get": operation(
                "The caller's generations with their images, newest first",
                response_of("Generations"),
                InvalidRequest,
                Unauthorized,
                TooManyRequests,
                Unavailable,
                parameters=LISTING,
                caller="user",
            ),
        },
        "/start-generation/{generation_id}": {
            "get": operation(
                "A generation with its images",
                response_of("Generation"),
                *OF_ONE,
                parameters=[GENERATION_ID],
                caller="user",
            ),
            "delete": operation(
                "Cancel a generation, or delete a completed or failed one with its pictures",
                response_of("Cancelled"),
                InvalidRequest,
                *OF_ONE,
                Conflict,
                parameters=[GENERATION_ID, ONLY],
                caller="user",
            ),
        },
        "/start-generation/{generation_id}/events": {
            "get": operation(
                "Status and progress as they change",
                EVENTS,
                *OF_ONE,
                parameters=[GENERATION_ID, LAST_EVENT_ID, TICKET],
                caller="user",
            )
        },
        "/start-generation/{generation_id}/ticket": {
            "post": operation(
                "A ticket for its events: for this generation alone, and for two minutes",
                response_of("Ticket"),
                *OF_ONE,
                parameters=[GENERATION_ID],
                caller="user",
            )
        },
    },
    SCHEMAS,
)
