"""What the sandbox knows of each model: its schema files, and Replicate's words for a bad body."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypedDict
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

OFFICIAL_VERSION = "hidden"  # what Replicate shows in place of a hash for a model called by name

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
    """One refusal. ``field`` is a dotted path such as ``input.seed``, empty for the body."""

    type: str
    field: str
    description: str


@dataclass(frozen=True)
class Model:
    """One schema file. ``owner/name`` is the id; ``version`` is None where no hash is known."""

    id: str
    official: bool
    version: str | None
    input_schema: Mapping[str, Any]
    makes_list: bool
    default_format: str

    @property
    def properties(self) -> Mapping[str, Any]:
        """The input keys that do something, each with its schema."""
        properties: Mapping[str, Any] = self.input_schema["properties"]
        return properties

    @property
    def latest_version(self) -> str:
        """The hash that the API tells; one is made up where none is known."""
        return self.version or hashlib.sha256(self.id.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The model as the API tells it, each enumeration a schema of its own."""
        owner, _, name = self.id.partition("/")
        properties, enumerations = {}, {}
        for place, (key, schema) in enumerate(self.properties.items()):
            shown = {**schema, "x-order": place, "title": key.replace("_", " ").title()}
            if "enum" in schema:
                kinds = {"enum", "type"}
                enumerations[key] = {k: v for k, v in schema.items() if k in kinds}
                shown = {k: v for k, v in shown.items() if k not in kinds}
                shown["allOf"] = [{"$ref": f"#/components/schemas/{key}"}]
            properties[key] = shown
        address = {"type": "string", "format": "uri", "title": "Output"}
        schemas = {
            **enumerations,
            "Input": {**self.input_schema, "title": "Input", "properties": properties},
            "Output": {"type": "array", "items": address, "title": "Output"}
            if self.makes_list
            else address,
        }
        return {
            "url": f"https://replicate.com/{self.id}",
            "owner": owner,
            "name": name,
            "description": None,
            "visibility": "public",
            "is_official": self.official,
            "run_count": 0,
            "default_example": None,
            "latest_version": {
                "id": self.latest_version,
                "created_at": "2026-01-01T00:00:00.000000Z",
                "cog_version": "0.16.0",
                "openapi_schema": {"openapi": "3.0.2", "components": {"schemas": schemas}},
            },
        }

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A valid input as the prediction shows it: defaults filled in, unknown keys kept."""
        defaults = {k: p["default"] for k, p in self.properties.items() if "default" in p}
        return {**defaults, **given}

    def effective(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The part of ``given`` that this model reads: unknown keys pass, and do nothing."""
        return {key: value for key, value in given.items() if key in self.properties}

    def output_format(self, given: Mapping[str, Any]) -> str:
        """Return ``webp``, ``png``, ``jpg``, ``jpeg`` or ``svg``, as the model spells it."""
        return str(self.effective(given).get("output_format", self.default_format))

    def output_count(self, given: Mapping[str, Any]) -> int:
        """How many pictures this input asks for; 1 for a model whose output is one string."""
        read = self.effective(given)
        if not self.makes_list:
            return 1
        if "max_images" in read:  # seedream counts only when it may make a series
            series = read.get("sequential_image_generation") == "auto"
            return int(read["max_images"]) if series else 1
        return int(read.get("num_outputs", read.get("number_of_images", 1)))


def load_models() -> dict[str, Model]:
    """Read every schema file; the key is ``owner/name``. Aliases are not answered to."""
    folder = files("functions._shared.image_models") / "schemas"
    found = [json.loads(f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".json")]
    return {data["model"]: read_model(data) for data in found}


def read_model(data: Mapping[str, Any]) -> Model:
    """A model from what a schema file holds."""
    return Model(
        id=data["model"],
        # Where nobody knows, a version is asked for: a client that sends one is always right.
        official=data["official"] is True,
        version=data["version"],
        input_schema=data["input"],
        makes_list=data["output"]["shape"] == "array-of-uri",
        default_format=data["output"]["format_default"],
    )


def find_by_reference(models: Mapping[str, Model], reference: str) -> Model | None:
    """Find what a create's ``version`` names: a hash, ``owner/name:hash``, or an official name."""
    if reference in models:
        return models[reference] if models[reference].official else None
    name, colon, version = reference.rpartition(":")
    for model in models.values():
        if model.latest_version == version and (not colon or name == model.id):
            return model
    return None


def refusals(body: object, model: Model | None, *, by_name: bool) -> list[InvalidField]:
    """Everything wrong with a create body, at once; empty when it is good.

    ``model`` is None while unknown: then only the keys around the input are checked. With
    ``by_name`` the path has named the model already, and a ``version`` is one key too many.
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
    """Validate, and put the failures in Replicate's words: missing keys first, then by path."""
    errors = list(Draft202012Validator(schema, format_checker=_formats).iter_errors(instance))
    # A value of the wrong type breaks its enum and its bounds as well; Replicate names the type.
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    fields: list[InvalidField] = []
    for error in sorted(errors, key=lambda error: len(error.absolute_path)):
        if error.validator != "type" and tuple(error.absolute_path) in mistyped:
            continue
        # The library reports each missing key on its own, but names it only in its message.
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
        case other:  # a keyword no schema of ours uses yet: refuse in the library's words
            yield _field(str(other), path, error.message)


def _field(kind: str, path: str, description: str) -> InvalidField:
    return {"type": kind, "field": path, "description": description}


def _type_name(value: object) -> str:
    """Name the JSON type; 2.0 is an integer in JSON Schema, so only real fractions are numbers."""
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
    """Ask for a scheme, as Replicate's validator does; ``data:`` and ``https:`` both have one."""
    return not isinstance(value, str) or (bool(urlsplit(value).scheme) and "\\" not in value)
