"""The OpenAPI entry of process-jobs and process-jobs-test: their operations, who may call them, what they answer."""

from functions._shared.errors import Forbidden, TooManyRequests, Unauthorized, Unavailable
from functions._shared.web.openapi import (
    COUNT,
    TEXT,
    TRUE,
    WITH_BODY,
    Entry,
    object_of,
    operation,
    response_of,
)
from functions.process_jobs.request import ProcessJobsRequest

SCHEMAS = {
    "ProcessJobsRequest": ProcessJobsRequest.model_json_schema(),
    "Processed": object_of(success=TRUE, processed=COUNT, errors=COUNT, message=TEXT),
    "Diagnosis": object_of(
        success={"type": "boolean"},
        checks={
            "type": "object",
            "additionalProperties": object_of(ok={"type": "boolean"}, detail=TEXT, ms=COUNT),
        },
    ),
}
PROCESS = operation(
    "Run a batch of queued jobs",
    response_of("Processed"),
    *WITH_BODY,
    Forbidden,
    body="ProcessJobsRequest",
    body_required=False,
    caller="service",
)
DIAGNOSE = operation(
    "Ask each part whether it has what it needs",
    response_of("Diagnosis"),
    Unauthorized,
    Forbidden,
    TooManyRequests,
    Unavailable,
    caller="service",
)

ENTRY = Entry(
    {
        "/process-jobs": dict.fromkeys(("get", "post", "put", "patch", "delete"), PROCESS),
        "/process-jobs-test": dict.fromkeys(("get", "post"), DIAGNOSE),
    },
    SCHEMAS,
)
