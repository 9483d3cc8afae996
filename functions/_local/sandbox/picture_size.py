"""Output size: the width and height that a model's input asks for."""

import math
import re
from collections.abc import Mapping
from typing import Any

SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
_MEGAPIXEL = 1024 * 1024

# A model's word for a size → megapixels, whichever input key holds the word.
_MEGAPIXELS_BY_WORD: Mapping[str, float] = {
    "0.25": 0.25,
    "1": 1,
    "0.5 MP": 0.5,
    "1 MP": 1,
    "2 MP": 2,
    "4 MP": 4,
    "1K": 1,
    "2K": 4,
    "4K": 16,
    "small": 0.25,
    "regular": 1,
    "big": 2,
}
AREA_KEYS = ("resolution", "size", "megapixels", "image_size")
"""Keys whose words may say an area; the first of them counts. Every size key of a shipped model but the ratio's."""


def picture_size(read: Mapping[str, Any]) -> tuple[int, int]:
    """Return (width, height) in pixels for the input keys a model reads, defaults filled in.

    - ``width`` and ``height`` count where the model has no ratio and no size word, or where
      ``aspect_ratio`` or ``size`` is "custom"; 1024 stands in for a missing one.
    - A fixed size such as "1536x1024" counts as written: in ``resolution`` it beats the ratio
      (ideogram), in ``size`` a ratio beats it (recraft).
    - A ratio is spread over an area, both sides rounded to a multiple of 16. The area is 1 MP
      (1024 * 1024), or what ``megapixels``, ``resolution``, ``size`` or ``image_size`` say:
      1K, 2K and 4K are the areas of a square with sides of 1024, 2048 and 4096; of
      seedream-3's words small is 0.25 MP and big 2 MP.
    - "match_input_image" gives a square: input pictures are not decoded.
    Sides are clamped to 64 to 4096, as some schemas set no bounds.
    """
    ratio, size, resolution = (str(read.get(k)) for k in ("aspect_ratio", "size", "resolution"))
    ratio_sides = _two_numbers(r"(\d+):(\d+)", ratio)
    fixed = _two_numbers(r"(\d+)x(\d+)", resolution)
    if fixed is None and ratio_sides is None:
        fixed = _two_numbers(r"(\d+)x(\d+)", size)
    pixels_alone = "width" in read and not read.keys() & {"aspect_ratio", "size"}
    if pixels_alone or "custom" in (ratio, size):
        sides = (int(read.get("width", 1024)), int(read.get("height", 1024)))
    elif fixed:
        sides = fixed
    else:
        words = [str(read.get(key)) for key in AREA_KEYS]
        known = [_MEGAPIXELS_BY_WORD[word] for word in words if word in _MEGAPIXELS_BY_WORD]
        area = _MEGAPIXEL * (known[0] if known else 1)
        across, down = ratio_sides or (1, 1)
        exact = (math.sqrt(area * across / down), math.sqrt(area * down / across))
        sides = (round(exact[0] / 16) * 16, round(exact[1] / 16) * 16)
    width, height = (min(max(side, SMALLEST_SIDE), LARGEST_SIDE) for side in sides)
    return width, height


def _two_numbers(pattern: str, text: str) -> tuple[int, int] | None:
    found = re.fullmatch(pattern, text)
    return (int(found[1]), int(found[2])) if found else None
