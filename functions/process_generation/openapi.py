"""The OpenAPI entry of process-generation and its webhook: their operations, who may call them, what they take."""

from functions._shared.errors import Forbidden, GenerationFailed, NotFound
from functions._shared.web.openapi import (
    TEXT,
    TRUE,
    UUID,
    WITH_BODY,
    Entry,
    Json,
    object_of,
    operation,
    response_of,
)
from functions.process_generation.request import ProcessGenerationRequest

SCHEMAS = {
    "ProcessGenerationRequest": ProcessGenerationRequest.model_json_schema(),
    "Predicted": object_of(success=TRUE),
}
CALLBACK: list[Json] = [
    {"name": "prediction", "in": "query", "required": True, "schema": UUID},
    {"name": "secret", "in": "query", "required": True, "schema": TEXT},
]
"""The query of the webhook's address, which names an intent and holds its secret."""

ENTRY = Entry(
    {
        "/process-generation": {
            "post": operation(
                "Make one generation's pictures, and answer with their addresses",
                response_of("Predicted"),
                *WITH_BODY,
                Forbidden,
                NotFound,
                GenerationFailed,
                body="ProcessGenerationRequest",
                caller="service",
            )
        },
        "/process-generation/webhook": {
            "post": operation(
                "The provider tells that a prediction has ended, signed as Standard Webhooks have it",
                response_of("Predicted"),
                *WITH_BODY,
                NotFound,
                parameters=CALLBACK,
                caller="provider",
            )
        },
    },
    SCHEMAS,
)
