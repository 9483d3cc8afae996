"""Whether each field of a request is sent under a key that means it: against facts judged by reading the schemas.

The judgement (tests/functions/process_generation/meant.json) names for each model and field the right input key, or
several (null among them: the field may be left out), ``{"key", "turned"}`` for an inverse scale, or null: then nothing
may be sent, and the request is told.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import ImageModel, model_from_schema
from functions.process_generation.inputs import BuiltInput, build_input
from scripts.public_catalogue import PublicModel

JUDGEMENT = Path(__file__).parent.parent / "tests/functions/process_generation/meant.json"
PICTURE, OTHER_PICTURE = "https://example.com/a.png", "https://example.com/b.png"
FULL: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "dogs",
    "width": 1024,
    "height": 768,
    "num_inference_steps": 20,
    "guidance_scale": 6.5,
    "seed": 42,
    "source_image_url": PICTURE,
    "strength": 0.3,
    "num_outputs": 2,
    "output_format": "png",
}
"""A full request; its aspect ratio is that of its sides."""
EXTREMES: dict[str, tuple[Any, Any]] = {
    "prompt": ("a fox", "a dog"),
    "negative_prompt": ("dogs", "cats"),
    "width": (512, 1920),
    "height": (512, 1920),
    "aspect_ratio": ("9:16", "16:9"),
    "num_inference_steps": (1, 1000),
    "guidance_scale": (0.0, 100.0),
    "seed": (1, 7),
    "source_image_url": (PICTURE, OTHER_PICTURE),
    "strength": (0.0, 1.0),
    "num_outputs": (1, 16),
    "output_format": ("png", "jpg"),
}
"""Two values of each field: the keys whose values differ between them carry the field."""
SIZED = {"width", "height", "aspect_ratio"}


@dataclass(frozen=True)
class Verdict:
    """One field of one model; ``wrong`` says how it was missed, and is empty where it was met."""

    model: str
    field: str
    wrong: str


def read_judgement(file: Path = JUDGEMENT) -> dict[str, Any]:
    """Model → what was judged: ``version``, ``fields``, ``note``."""
    models: dict[str, Any] = json.loads(file.read_text("utf-8"))["models"]
    return models


def verdicts(public: PublicModel, fields: dict[str, Any] | None) -> Iterator[Verdict]:
    """A verdict for each judged field; without ``fields`` the model must be refused."""
    try:
        model = model_from_schema(f"public/{public.name.replace('/', '--')}", public.document)
        needed = _needed(model)
        _build(model, needed, FULL)
    except InvalidRequest as refused:
        for field in fields or ():
            yield Verdict(public.name, field, f"the model is refused: {refused}")
        return
    if fields is None:
        yield Verdict(public.name, "prompt", "the model should be refused")
        return
    for field, right in fields.items():
        yield Verdict(public.name, field, _fault(model, needed, field, right))


def _fault(model: ImageModel, needed: dict[str, Any], field: str, right: Any) -> str:
    rights = _directions(right)
    first, last = _two(model, needed, field, list(rights))
    carriers = {
        key
        for key in first.input.keys() | last.input.keys()
        if first.input.get(key) != last.input.get(key)
    }
    if not rights or (_may_be_left(right) and not carriers & rights.keys()):
        noted = any(_is_noted(built, field) for built in (first, last))
        return f"sent as {sorted(carriers)}" if carriers else "" if noted else "not noted"
    met = carriers & rights.keys()
    if not met:
        # A single legal value is sent, or the default that equals it is left: nothing can differ.
        constant = any(key in built.input for key in rights for built in (first, last))
        return (
            ""
            if constant and not carriers
            else f"not sent as {list(rights)}, but {sorted(carriers)}"
        )
    for key in met if field == "strength" else ():
        if (first.input[key] > last.input[key]) != rights[key]:
            return f"{key} is in the wrong direction"
    return ""


def _may_be_left(right: Any) -> bool:
    return isinstance(right, list) and None in right


def _directions(right: Any) -> dict[str, bool]:
    """The right keys, each with whether it counts the other way."""
    listed = right if isinstance(right, list) else [] if right is None else [right]
    return {
        one["key"] if isinstance(one, dict) else one: isinstance(one, dict)
        and bool(one.get("turned"))
        for one in listed
        if one is not None
    }


def _two(
    model: ImageModel, needed: dict[str, Any], field: str, keys: list[str]
) -> tuple[BuiltInput, BuiltInput]:
    """The inputs of two full requests that differ in ``field``."""
    values: tuple[Any, ...] = EXTREMES.get(field, ())
    if field == "style":
        words = [w for key in keys for w in model.properties.get(key, {}).get("enum", ())]
        values = (words[0], words[-1]) if words else ("photographic", "anime")
    others = {name: value for name, value in FULL.items() if name != field}
    if field == "aspect_ratio":
        others = {name: value for name, value in others.items() if name not in SIZED}
    first, last = (_build(model, needed, {**others, field: value}) for value in values)
    return first, last


def _is_noted(built: BuiltInput, field: str) -> bool:
    names = {field, "size"} if field in SIZED else {field}
    return any(note.partition(":")[0] in names for note in built.adjustments)


def _build(model: ImageModel, needed: dict[str, Any], fields: dict[str, Any]) -> BuiltInput:
    body = {"prompt": "a fox", **fields, "model_id": model.replicate_id, "input": needed or None}
    return build_input(GenerationRequest.model_validate(body), model, new_seed=lambda: 4)


def _needed(model: ImageModel) -> dict[str, Any]:
    """Values of required inputs that no field of a request means, as a caller would give them in ``input``."""
    made: dict[str, Any] = {}
    for key in model.schema.get("required", ()):
        limits = model.all_properties.get(key, {})
        if key in model.meaning.keys or limits.get("default") is not None:
            continue
        for value in (*limits.get("enum", ()), "https://example.com/c.png", 1, True, ["x"]):
            if model.takes(key, value):
                made[key] = value
                break
    return made
