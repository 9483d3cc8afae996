"""JSON Schema validation of a create's body, with the error messages that Replicate's API gives."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from functions._local.sandbox.models import Model

_ENVELOPE: Mapping[str, Any] = {
    "version": {"type": "string"},
    "webhook": {"type": "string", "format": "uri"},
    "webhook_events_filter": {
        "type": "array",
        "items": {"type": "string", "enum": ["start", "output", "logs", "completed"]},
    },
    "stream": {"type": "boolean"},
}

_formats = FormatChecker(formats=())


class InvalidField(TypedDict):
    """One validation error. ``field`` is a dotted path such as ``input.seed``, empty for the whole body."""

    type: str
    field: str
    description: str


def invalid_fields(body: object, model: Model | None, *, by_name: bool) -> list[InvalidField]:
    """All validation errors of a create's body; empty for a valid one.

    ``model`` is None when unknown: then only the keys around the input are validated. With ``by_name`` the path
    names the model, and ``version`` is an additional property.
    """
    properties = {**_ENVELOPE, "input": model.input_schema if model else {"type": "object"}}
    required = ["version", "input"]
    if by_name:
        del properties["version"]
        required.remove("version")
    return check(
        {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        body,
    )


def check(schema: Mapping[str, Any], instance: Any) -> list[InvalidField]:
    """The validation errors of ``instance``, in Replicate's words: missing keys, then by path."""
    errors = list(Draft202012Validator(schema, format_checker=_formats).iter_errors(instance))
    # A value of the wrong type also fails its enum and bounds; Replicate reports the type error only.
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    fields: list[InvalidField] = []
    for error in sorted(errors, key=lambda error: len(error.absolute_path)):
        if error.validator != "type" and tuple(error.absolute_path) in mistyped:
            continue
        # jsonschema raises one error for each missing key without naming the key in a field: deduplicate.
        fields += [field for field in _translate(error) if field not in fields]
    return fields


def _translate(error: ValidationError) -> Iterable[InvalidField]:
    path = ".".join(str(step) for step in error.absolute_path)
    limit: Any = error.validator_value
    value: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "required":
            for name in limit:
                if name not in value:
                    yield _field("required", path, f"{name} is required")
        case "additionalProperties":
            for name in value:
                if name not in schema["properties"]:
                    text = f"Additional property {name} is not allowed"
                    yield _field("additional_property_not_allowed", path, text)
        case "type":
            text = f"Invalid type. Expected: {limit}, given: {_type_name(value)}"
            yield _field("invalid_type", path, text)
        case "enum":
            allowed = ", ".join(json.dumps(word, ensure_ascii=False) for word in limit)
            text = f"{error.absolute_path[-1]} must be one of the following: {allowed}"
            yield _field("enum", path, text)
        case "maximum":
            yield _field("number_lte", path, f"Must be less than or equal to {limit}")
        case "minimum":
            yield _field("number_gte", path, f"Must be greater than or equal to {limit}")
        case "multipleOf":
            yield _field("multiple_of", path, f"Must be a multiple of {limit}")
        case "format":
            yield _field("format", path, f"Does not match format '{limit}'")
        case other:  # a keyword that no shipped schema uses: the library's own message
            yield _field(str(other), path, error.message)


def _field(kind: str, path: str, description: str) -> InvalidField:
    return {"type": kind, "field": path, "description": description}


def _type_name(value: object) -> str:
    """The JSON type's name. JSON Schema counts 2.0 as an integer, so only fractions are "number"."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


@_formats.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    """Require a URI scheme, as Replicate's validator does; ``data:`` counts as well as ``https:``."""
    return not isinstance(value, str) or (bool(urlsplit(value).scheme) and "\\" not in value)
