"""A model's capabilities, derived from its schema: the columns of the models table."""

import math
import re
from collections.abc import Iterable
from typing import Any

from functions._shared import foreign
from functions._shared.image_models.catalog import STORED_FORMATS, ImageModel, stored_format
from functions._shared.image_models.json_schema import Schema, bounds
from functions._shared.image_models.keys import (
    COUNT_KEYS,
    DENOISE_KEYS,
    GUIDANCE_KEYS,
    IMAGE_KEYS,
    KEEP_KEYS,
    SIZE_KEYS,
    STEPS_KEYS,
    STYLE_KEYS,
)

MAX_OUTPUTS = 16
MAX_DEFAULT = 1_000_000
REQUESTABLE = frozenset(
    {"prompt", "negative_prompt", "width", "height", "seed", "output_format", *SIZE_KEYS}
    | {
        *STEPS_KEYS,
        *GUIDANCE_KEYS,
        *IMAGE_KEYS,
        *DENOISE_KEYS,
        *KEEP_KEYS,
        *STYLE_KEYS,
        *COUNT_KEYS,
    }
)
"""The input keys that a generation request can set."""


def describe(model: ImageModel) -> dict[str, Any]:
    """The derived columns: defaults, aspect ratios, formats, supported features."""
    fields: dict[str, Schema] = model.schema["properties"]

    def has(keys: Iterable[str]) -> bool:
        return any(key in fields for key in keys)

    def default(keys: Iterable[str]) -> int | float | None:
        found = (model.defaults.get(k, fields[k].get("default")) for k in keys if k in fields)
        return _number(next(found, None))

    sides = {"width", "height"} <= fields.keys()
    words = fields.get("aspect_ratio", {}).get("enum", ())
    formats = {stored_format(str(w)) for w in fields.get("output_format", {}).get("enum", ())}
    return {
        "default_width": default(["width"]) if sides else 1024,
        "default_height": default(["height"]) if sides else 1024,
        "default_steps": default(STEPS_KEYS),
        "default_guidance_scale": default(GUIDANCE_KEYS),
        "aspect_ratios": [word for word in words if re.fullmatch(r"\d+:\d+", str(word))],
        "output_formats": [word for word in STORED_FORMATS if word in formats],
        "max_outputs": _max_outputs(fields),
        "supports_size": sides,
        "supports_negative_prompt": "negative_prompt" in fields,
        "supports_source_image": has(IMAGE_KEYS),
        "supports_strength": has(IMAGE_KEYS) and has([*DENOISE_KEYS, *KEEP_KEYS]),
        "supports_steps": has(STEPS_KEYS),
        "supports_guidance": has(GUIDANCE_KEYS),
        "supports_seed": "seed" in fields,
        "supports_style": any(fields.get(key, {}).get("enum") for key in STYLE_KEYS),
    }


def beyond_a_request(model: ImageModel) -> str | None:
    """Why no request can ever use the model; None for a usable model."""
    if "prompt" not in model.properties:
        return f"{model.replicate_id} takes no text prompt"
    for key in model.schema.get("required", ()):
        limits = model.properties.get(key, {})
        chosen = key in model.defaults or "default" in limits or len(limits.get("enum", ())) == 1
        if key not in REQUESTABLE and not chosen:
            return f"{model.replicate_id} requires {key!r}: a request cannot carry it"
    return None


def _number(value: Any) -> int | float | None:
    """A default that fits its column, else None: schemas are untrusted, their defaults may be anything."""
    return value if foreign.number(value, 0, MAX_DEFAULT) is not None else None


def _max_outputs(fields: dict[str, Schema]) -> int:
    for key in COUNT_KEYS:
        if key in fields:
            most = bounds(fields[key])[1]
            return int(min(most, MAX_OUTPUTS)) if math.isfinite(most) and most >= 1 else 1
    return 1
