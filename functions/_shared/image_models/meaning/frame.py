"""How a model's properties express a size: width and height under other names, enumerations of sizes and ratios."""

import re
from dataclasses import dataclass

from functions._shared.image_models.meaning.fields import (
    Properties,
    by_names,
    description_of,
    is_number,
    words,
)

SIZE_NAMES = (
    "aspect_ratio", "size", "image_size", "resolution", "megapixels", "aspect_ratios_selection",
    "aspect_ratio_selection", "aspect_ratio_name", "image_aspect_ratio", "img_size", "image_resolution", "output_size",
    "output_resolution", "dimensions", "image_dimensions", "orientation", "ratio",
)  # fmt: skip
"""Properties whose enum values mean a size; a value is recognised by its form, not by its property."""
SIDES = (
    ("width", "height"),
    ("image_width", "image_height"),
    ("img_width", "img_height"),
    ("output_width", "output_height"),
    ("widthh", "heightt"),
    ("ori_width", "ori_height"),
    ("overwrite_width", "overwrite_height"),
    ("side_x", "side_y"),
    ("target_width", "target_height"),
    ("max_width", "max_height"),
)
"""Names of width and height, best first."""

_NOT_THE_OUTPUT = words(
    r"""detect | \btile | \bcrop | bounding | `?original_size | preprocess | processing | preview | \bproduct
    | size\ of\ the\ model | controlnet\ image"""
)
_GROWN = words(r"(?P<double>\b(double|twice|2x)\b) | (?P<four>\b4x\ larger)")


@dataclass(frozen=True)
class Sides:
    """``factor``: the picture is that many times as wide and high; ``bound``: the sides are only maxima."""

    width: str
    height: str
    factor: int = 1
    bound: bool = False


def sides_of(properties: Properties) -> Sides | None:
    for names in SIDES:
        keys = [key for name in names for key in by_names(properties, (name,))[:1]]
        if len(keys) == 2 and all(_is_side(properties, key) for key in keys):
            text = " ".join(description_of(properties[key]) for key in keys)
            grown = _GROWN.search(text)
            factor = 1 if grown is None else 2 if grown["double"] else 4
            return Sides(keys[0], keys[1], factor, names[0].startswith("max_"))
    return None


def size_keys_of(properties: Properties) -> tuple[str, ...]:
    """Enumerations and numbers that mean a size or an aspect ratio, best first."""
    return tuple(
        key
        for key in by_names(properties, SIZE_NAMES)
        if not _NOT_THE_OUTPUT.search(description_of(properties[key]))
    )


def _is_side(properties: Properties, key: str) -> bool:
    text = re.sub(r"\s+", " ", description_of(properties[key]))
    return is_number(properties[key]) and not _NOT_THE_OUTPUT.search(text)
