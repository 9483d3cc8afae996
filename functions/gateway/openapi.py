"""The OpenAPI 3.1 document of GET /functions/v1/openapi.json, assembled from the entries of the functions' folders.

tests/functions/gateway/test_openapi.py compares each entry with its function's routes, and with what they answer.
"""

from collections.abc import Iterable
from importlib.metadata import version

from functions._shared.web.openapi import SHARED_SCHEMAS, Entry, Json, operation

ITSELF = Entry(
    {
        "/openapi.json": {
            "get": operation(
                "This document",
                {"description": "OpenAPI 3.1", "content": {"application/json": {}}},
                caller="anybody",
            )
        }
    },
    {},
)


def document(base: str, functions: Iterable[Entry]) -> Json:
    """The document of ``functions`` and of itself; paths are below ``base``, the address that clients use."""
    entries = [*functions, ITSELF]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Picture Edge", "version": version("picture-edge")},
        "servers": [{"url": base}],
        "paths": {path: methods for entry in entries for path, methods in entry.paths.items()},
        "components": {
            "schemas": {
                name: schema
                for schemas in (SHARED_SCHEMAS, *(entry.schemas for entry in entries))
                for name, schema in schemas.items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apikey": {"type": "apiKey", "in": "header", "name": "apikey"},
            },
        },
    }
