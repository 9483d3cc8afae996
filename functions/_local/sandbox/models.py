"""The served models, read from the schema files of ``_shared/image_models``."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

OFFICIAL_VERSION = "hidden"
"""The version in a prediction of an official model, which is addressed by name instead of by hash."""


@dataclass(frozen=True)
class Model:
    """The content of one schema file. ``id`` is ``owner/name``; ``version`` None: no hash known."""

    id: str
    official: bool
    version: str | None
    input_schema: Mapping[str, Any]
    makes_list: bool
    default_format: str

    @property
    def properties(self) -> Mapping[str, Any]:
        """Input key → its JSON Schema, for the keys that have an effect."""
        properties: Mapping[str, Any] = self.input_schema["properties"]
        return properties

    @property
    def latest_version(self) -> str:
        """The version hash that the API reports; derived from the id where none is known."""
        return self.version or hashlib.sha256(self.id.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The API's model object. As Replicate does, each enum is a schema of its own behind a ``$ref``."""
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
        """A valid input as the prediction object shows it: defaults filled in, unknown keys kept."""
        defaults = {k: p["default"] for k, p in self.properties.items() if "default" in p}
        return {**defaults, **given}

    def effective(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``given`` without unknown keys, which pass validation and have no effect."""
        return {key: value for key, value in given.items() if key in self.properties}

    def output_format(self, given: Mapping[str, Any]) -> str:
        """The output format, ``webp``, ``png``, ``jpg``, ``jpeg`` or ``svg``, in the model's own spelling."""
        return str(self.effective(given).get("output_format", self.default_format))

    def output_count(self, given: Mapping[str, Any]) -> int:
        """Number of pictures that this input asks for; 1 for a model whose output is one string."""
        read = self.effective(given)
        if not self.makes_list:
            return 1
        if "max_images" in read:  # seedream reads the count only in its series mode
            series = read.get("sequential_image_generation") == "auto"
            return int(read["max_images"]) if series else 1
        return int(read.get("num_outputs", read.get("number_of_images", 1)))


def load_models() -> dict[str, Model]:
    """Read every schema file, by ``owner/name``. Our aliases are left out: Replicate knows none."""
    folder = files("functions._shared.image_models") / "schemas"
    documents = [
        json.loads(f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".json")
    ]
    return {data["model"]: read_model(data) for data in documents}


def read_model(data: Mapping[str, Any]) -> Model:
    """Build a model from the content of a schema file."""
    return Model(
        id=data["model"],
        # Unknown counts as community model, whose version is required: sending a version is valid for either kind.
        official=data["official"] is True,
        version=data["version"],
        input_schema=data["input"],
        makes_list=data["output"]["shape"] == "array-of-uri",
        default_format=data["output"]["format_default"],
    )


def deployment_as_json(path: Mapping[str, str], model: Model) -> dict[str, Any]:
    """The API's deployment object; ``path`` has its owner and name."""
    owner, name = path["owner"], path["name"]
    return {
        "owner": owner,
        "name": name,
        "current_release": {
            "number": 1,
            "model": model.id,
            "version": model.latest_version,
            "created_at": "2026-01-01T00:00:00.000000Z",
            "created_by": {"type": "organization", "username": owner, "name": owner},
            "configuration": {"hardware": "gpu-t4", "min_instances": 0, "max_instances": 1},
        },
    }


def find_by_reference(models: Mapping[str, Model], reference: str) -> Model | None:
    """Resolve the ``version`` of a create: a hash, ``owner/name:hash``, or the name of an official model."""
    if reference in models:
        return models[reference] if models[reference].official else None
    name, colon, version = reference.rpartition(":")
    for model in models.values():
        if model.latest_version == version and (not colon or name == model.id):
            return model
    return None
