"""A model's capabilities, derived from its schema: the columns of the models table."""

import math
import re
from typing import Any

from functions._shared import foreign
from functions._shared.image_models.catalog import STORED_FORMATS, ImageModel, stored_format
from functions._shared.image_models.json_schema import Schema, bounds
from functions._shared.image_models.meaning.fields import is_text, snake_case, words

MAX_OUTPUTS = 16
MAX_DEFAULT = 1_000_000
_CREDENTIAL = words(
    r"""(^|_)(api_?key|access_key|secret(_key)?|password)$
    | (^|_)(hf|hugging_?face|access|auth|api|jwt|bearer|github|civitai|replicate)_?(api_)?token$ | ^token$"""
)


def describe(model: ImageModel) -> dict[str, Any]:
    """The derived columns: defaults, aspect ratios, formats, supported features."""
    fields, means = model.properties, model.meaning

    def default(key: str | None) -> int | float | None:
        return _number(model.defaults.get(key or "", fields.get(key or "", {}).get("default")))

    ratios = fields.get("aspect_ratio", {}).get("enum", ())
    listed = fields.get(means.output_format or "", {}).get("enum", ())
    formats = {stored_format(str(word)) for word in listed}
    return {
        "default_width": default(means.sides.width) if means.sides else 1024,
        "default_height": default(means.sides.height) if means.sides else 1024,
        "default_steps": default(means.steps),
        "default_guidance_scale": default(means.guidance),
        "aspect_ratios": [word for word in ratios if re.fullmatch(r"\d+:\d+", str(word))],
        "output_formats": [word for word in STORED_FORMATS if word in formats],
        "max_outputs": _max_outputs(fields.get(means.count or "", {})) if means.count else 1,
        "supports_size": means.sides is not None,
        "supports_negative_prompt": means.negative_prompt is not None,
        "supports_source_image": means.source is not None,
        "supports_strength": means.source is not None and means.strength is not None,
        "supports_steps": means.steps is not None,
        "supports_guidance": means.guidance is not None,
        "supports_seed": means.seed is not None,
        "supports_style": bool(means.styles),
    }


def beyond_a_request(model: ImageModel) -> str | None:
    """Why no request can ever use the model; None for a usable model."""
    if model.meaning.prompt is None:
        return f"{model.replicate_id} takes no text prompt"
    for key in model.schema.get("required", ()):
        limits = model.all_properties.get(key, {})
        chosen = key in model.defaults or "default" in limits or len(limits.get("enum", ())) == 1
        if not chosen and (key not in model.all_properties or is_secret(key, limits)):
            return f"{model.replicate_id} requires {key!r}: a request cannot carry it"
    return None


def is_secret(key: str, limits: Schema) -> bool:
    """Whether a property takes a credential: it would be stored with the job, so no request may carry one.

    By its name as well: older models declare ``hf_token`` as plain text.
    """
    if limits.get("format") == "password" or limits.get("writeOnly") is True:
        return True
    return is_text(limits) and _CREDENTIAL.search(snake_case(key)) is not None


def _number(value: Any) -> int | float | None:
    """A default that fits its column, else None: schemas are untrusted, their defaults may be anything."""
    return value if foreign.number(value, 0, MAX_DEFAULT) is not None else None


def _max_outputs(limits: Schema) -> int:
    most = bounds(limits)[1]
    return int(min(most, MAX_OUTPUTS)) if math.isfinite(most) and most >= 1 else 1
