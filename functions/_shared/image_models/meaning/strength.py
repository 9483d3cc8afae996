"""Denoising strength: the property that says how far the picture moves from the source, and in which direction."""

from dataclasses import dataclass

from functions._shared.image_models.json_schema import Schema, bounds, is_whole
from functions._shared.image_models.meaning.fields import (
    Properties,
    by_names,
    description_of,
    is_number,
    snake_case,
    words,
)

CHANGE_NAMES = (
    "prompt_strength", "denoising_strength", "denoise_strength", "strength", "denoising", "denoise",
    "img2img_strength", "structure_denoising_strength", "image_denoising_strength", "noise_strength",
    "variation_strength", "creativity",
)  # fmt: skip
"""1 ignores the source, unless the description says otherwise."""
KEEP_NAMES = (
    "image_prompt_strength", "image_strength", "init_image_strength", "image_to_image_strength", "image_weight",
    "image_reference_weight", "init_skip_fraction", "structural_image_strength",
)  # fmt: skip
"""The inverse scale: 1 keeps the source, unless the description says otherwise."""

_CHANGES = words(
    r"""1(\.0+)?\ (corresponds\ to|means|is|=)\ .{0,25}(destruction|ignor) | 0\.99?\ ?-\ ?complete\ destruction
    | essentially\ ignores | denois | how\ much\ (to\ )?(transform|noise\ to\ add|to\ repaint)
    | (strength|amount)\ of\ (the\ )?noise | more\ deviation | 0\ is\ all,?\ 1\ is\ none
    | prompt\ strength\ (when|for|,) | img2img
    | image\ to\ image | inpaint"""
)
_KEEPS = words(
    r"""0(\.0+)?\ (corresponds\ to|means|is|=)\ .{0,25}(destruction|none|ignor) | doesn't\ use\ the\ image
    | steps\ to\ skip
    | stronger\ influence | closer\ to\ the\ (source|input|original)|blend\ between\ the\ prompt\ and\ the\ image"""
)
_ELSE = words(
    r"""\bcfg\b | guidance | classifier | control.?net | control\ (net|strength|weight|image\ strength)
    | conditioning | ip.?ad[ap]+t | adapter | \bid\b | \blora | mask\ strength | caption | logo | upscaler?\
    | style\ will"""
)
_CERTAIN = words(r"destruction | denois | 0\ means\ none | noise")
"""Words that settle the meaning, whatever else the description mentions."""
_CFG = words(r"\bcfg\b | classifier | guidance\ scale")
FULL_SCALE = 1.0
"""Denoising strength goes from 0 to 1: a greater maximum or default is a weight."""


@dataclass(frozen=True)
class Strength:
    """``turned``: the property counts the other way, 1 keeps the source."""

    key: str
    turned: bool


def strength_of(properties: Properties) -> Strength | None:
    """None where no property means denoising strength, or none clearly."""
    candidates = [
        *((key, False) for key in by_names(properties, CHANGE_NAMES)),
        *((key, True) for key in by_names(properties, KEEP_NAMES)),
    ]
    read = ((key, _direction(key, properties[key], turned)) for key, turned in candidates)
    found = [Strength(key, turned) for key, turned in read if turned is not None]
    # Certain first: beside a property that says "denoising", one without a description is something else.
    found.sort(key=lambda one: not _CERTAIN.search(_texts(one.key, properties[one.key])))
    return found[0] if found else None


def is_guidance(limits: Schema) -> bool:
    """Whether a ``prompt_strength`` is a classifier-free guidance scale by its description."""
    return bool(_CFG.search(description_of(limits)))


def _texts(key: str, limits: Schema) -> str:
    return f"{snake_case(key)}: {description_of(limits)}"


def _direction(key: str, limits: Schema, turned: bool) -> bool | None:
    """Whether the property counts the other way; None where it means something else, or is not clear."""
    if not _is_fraction(limits) or is_guidance(limits):
        return None
    text = description_of(limits)
    if _ELSE.search(text) and not _CERTAIN.search(text):
        return None
    changes, keeps = _CHANGES.search(text), _KEEPS.search(text)
    if bool(changes) != bool(keeps):
        return bool(keeps)
    weight = bounds(limits)[1] > FULL_SCALE and limits.get("default") == FULL_SCALE
    return None if weight and not changes else turned


def _is_fraction(limits: Schema) -> bool:
    if not is_number(limits) or is_whole(limits) or "enum" in limits:
        return False
    default = limits.get("default")
    high = bounds(limits)[1]
    beyond = isinstance(default, int | float) and not 0 <= default <= FULL_SCALE
    return not beyond and (high <= FULL_SCALE or high == float("inf"))
