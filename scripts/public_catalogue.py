"""The public catalogue of models, as the npm package all-the-public-replicate-models has it: facts to measure against.

The package is not shipped; the tests install it with ``npm ci``, and a path to it may be given.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "all-the-public-replicate-models"
INSTALLED = (
    Path(__file__).parent.parent
    / "tests/functions/process_generation/catalogue/node_modules"
    / PACKAGE
)
"""Where the tests have it."""

_PICTURE = re.compile(r"\.(png|jpe?g|webp|svg|gif|bmp|tiff?)[\"?]", re.IGNORECASE)
_NO_PICTURE = re.compile(
    r"\.(mp[34]|wav|mov|webm|ply|glb|obj|zip|txt|json|flac|ogg|m4a|mid)[\"?]", re.IGNORECASE
)
_MOVING = {
    *("fps", "num_frames", "duration", "video_length", "frame_rate", "video"),
    *("input_audio", "seconds_total", "length", "bpm"),
}
"""Inputs of models that make videos or sound."""


@dataclass(frozen=True)
class PublicModel:
    """``document``: the model's OpenAPI document; ``input_schema`` is valid inside its components only."""

    name: str
    document: dict[str, Any]

    @property
    def schemas(self) -> dict[str, Any]:
        return _schemas(self.document)

    @property
    def closed_schema(self) -> dict[str, Any]:
        """The Input schema as its author wrote it, unknown keys refused, its references within reach."""
        components = {"components": {"schemas": self.schemas}}
        return {**self.schemas["Input"], "additionalProperties": False, **components}


def read_catalogue(path: Path) -> dict[str, PublicModel]:
    """All models of the package that have a schema; ``path`` is its folder, or its models.json."""
    file = path / "models.json" if path.is_dir() else path
    found = {}
    for model in json.loads(file.read_text("utf-8")):
        document = (model.get("latest_version") or {}).get("openapi_schema") or {}
        if _schemas(document).get("Input", {}).get("properties"):
            name = f"{model['owner']}/{model['name']}"
            found[name] = PublicModel(name, document)
    return found


def text_to_image(path: Path) -> Iterator[PublicModel]:
    """Those with a prompt whose output is, or may be, pictures: by the output's schema and the example's files."""
    file = path / "models.json" if path.is_dir() else path
    models = read_catalogue(path)
    for model in json.loads(file.read_text("utf-8")):
        known = models.get(f"{model['owner']}/{model['name']}")
        example = json.dumps((model.get("default_example") or {}).get("output"))
        if known and _makes_pictures(known.schemas, example):
            yield known


def _makes_pictures(schemas: dict[str, Any], example: str) -> bool:
    fields, output = schemas["Input"]["properties"], schemas.get("Output")
    said = {"type", "anyOf", "allOf", "oneOf", "$ref", "items"}
    anything = output is None or not said & output.keys()
    if "prompt" not in fields or not (anything or "'format': 'uri'" in str(output)):
        return False
    if _PICTURE.search(example):
        return True
    return not (_NO_PICTURE.search(example) or _MOVING & fields.keys())


def _schemas(document: dict[str, Any]) -> dict[str, Any]:
    schemas: dict[str, Any] = (document.get("components") or {}).get("schemas") or {}
    return schemas
