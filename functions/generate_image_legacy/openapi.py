"""The OpenAPI entry of generate-image: its operation, who may call it, what it takes and answers."""

from functions._shared.errors import Conflict, GenerationFailed, NotFound
from functions._shared.web.openapi import (
    COUNT,
    TEXT,
    TRUE,
    WITH_BODY,
    Entry,
    object_of,
    operation,
    ref,
    response_of,
)
from functions.generate_image_legacy.request import LegacyRequest

PICTURE = object_of(success=TRUE, generation_time=COUNT)
SCHEMAS = {
    "LegacyRequest": LegacyRequest.model_json_schema(),
    "Picture": {
        **PICTURE,
        "properties": {
            **PICTURE["properties"],
            "adjustments": {"type": "array", "items": TEXT, "minItems": 1},
        },
        "anyOf": [object_of(url=TEXT, format=TEXT), object_of(image=ref("Image"))],
    },
}

ENTRY = Entry(
    {
        "/generate-image": {
            "post": operation(
                "Make a picture, and answer when it is stored",
                response_of("Picture"),
                *WITH_BODY,
                NotFound,
                Conflict,
                GenerationFailed,
                body="LegacyRequest",
                caller="user",
            )
        }
    },
    SCHEMAS,
)
