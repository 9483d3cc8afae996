"""How a model's schema expresses a size: width and height, an aspect ratio, an enumeration of sizes, a pixel count."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from functions._shared.image_models.json_schema import (
    Schema,
    bounds,
    is_whole,
    nearest_number,
    types_of,
)

T = TypeVar("T")
Size = tuple[int, int]
"""Width and height in pixels."""

DEFAULT_SIZE: Size = (1024, 1024)
COMMON_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4")
"""The values that an aspect_ratio without an enumeration is assumed to accept."""
SAME_SHAPE = 0.01
"""Tolerance between two aspect ratios, as the natural logarithm of their quotient: invisible to the eye."""

_RATIO = re.compile(r"(?<!\d)(\d{1,4}(?:\.\d{1,4})?) ?: ?(\d{1,4}(?:\.\d{1,4})?)(?![\d:])")
_PIXELS = re.compile(r"(\d{2,5}) ?[x×*,] ?(\d{2,5})(?!\d)", re.IGNORECASE)
_AREA = re.compile(r"(\d{1,5}(?:\.\d{1,3})?) ?(k|mp|px)?")
_SHAPE_WORDS = {"square": 1.0, "landscape": 4 / 3, "portrait": 3 / 4}
_AREA_WORDS = {"small": 512**2, "regular": 1024**2, "big": 2048**2}


def choose_size(
    fields: Mapping[str, Schema], asked: Size | None, *, source: bool
) -> tuple[dict[str, Any], bool]:
    """The input that comes nearest to ``asked``, and whether the picture has exactly that size.

    ``fields`` are the properties that mean a size, the sides as width and height. Shape before area: of a listed ratio
    and free sides within their bounds, the one whose shape is nearer. Without a size asked: the ratio of the source
    picture if the model offers that, else a square.
    """
    if asked is None:
        return _unasked(fields, source=source), True
    custom = _custom_word(fields)
    if custom and all(
        low <= side <= high for side, (low, high) in zip(asked, _spans(fields), strict=True)
    ):
        return _sides(fields, asked, custom)
    listed, exact = _listed(fields, asked)
    sides, fits = (
        _sides(fields, asked, custom) if {"width", "height"} <= fields.keys() else ({}, False)
    )
    if not sides or (custom and listed and not _nearer(sides, listed, asked)):
        return listed, exact
    if custom:
        return sides, fits
    # A default aspect_ratio may override width and height: send both.
    shape = _shape(fields.get("aspect_ratio", {}).get("default"))
    return ({**listed, **sides}, False) if shape and shape != asked[0] / asked[1] else (sides, fits)


def _nearer(sides: Mapping[str, Any], listed: Mapping[str, Any], asked: Size) -> bool:
    """Whether the shape of ``sides`` is visibly nearer to that asked than the listed one."""
    shape = next((found for word in listed.values() if (found := _shape(word))), None)
    if shape is None:
        return True
    wanted = asked[0] / asked[1]
    return _apart(float(sides["width"]) / float(sides["height"]), wanted) + SAME_SHAPE < _apart(
        shape, wanted
    )


def word_of(fields: Mapping[str, Schema], asked: str) -> tuple[str, str] | None:
    """The property and its own spelling of an aspect ratio in words, such as ``match_input_image``."""
    for key in _size_keys(fields):
        for word in fields[key].get("enum", ()):
            if isinstance(word, str) and re.sub(r"[\s_-]+", "_", word.strip()).casefold() == asked:
                return key, word
    return None


def _size_keys(fields: Mapping[str, Schema]) -> list[str]:
    return [key for key in fields if key not in {"width", "height"}]


def choose_shape(fields: Mapping[str, Schema], shape: float) -> tuple[dict[str, Any], bool]:
    """The input for an aspect ratio (width / height) alone, and whether the picture has that ratio within SAME_SHAPE.

    How large it gets is left to the model, as far as that can be: of its sizes, the nearest to its default.
    """
    area = _default_side(fields.get("width", {})) * _default_side(fields.get("height", {}))
    asked = (max(1, round(math.sqrt(area * shape))), max(1, round(math.sqrt(area / shape))))
    ratio = min(
        ((_apart(meant, shape), key, word) for key, word, meant in _offers(fields, _ratio)),
        key=lambda option: option[0],
        default=None,
    )
    if ratio and (ratio[0] <= SAME_SHAPE or not {"width", "height"} <= fields.keys()):
        return {ratio[1]: ratio[2]}, ratio[0] <= SAME_SHAPE
    if ratio and not _custom_word(fields):
        return {ratio[1]: ratio[2]}, False  # it may override width and height
    chosen, _ = choose_size(fields, asked, source=False)
    sent = _shape(next((chosen[key] for key in _size_keys(fields) if key in chosen), None))
    if {"width", "height"} <= chosen.keys():
        sent = float(chosen["width"]) / float(chosen["height"])
    return chosen, sent is not None and _apart(sent, shape) <= SAME_SHAPE


def _default_side(field: Schema) -> float:
    side = field.get("default")
    return side if isinstance(side, int | float) and side >= 1 else 1024


def _unasked(fields: Mapping[str, Schema], *, source: bool) -> dict[str, Any]:
    if source and "match_input_image" in fields.get("aspect_ratio", {}).get("enum", ()):
        return {"aspect_ratio": "match_input_image"}
    if any(_shape(fields[key].get("default")) == 1 for key in _size_keys(fields)):
        return {}
    squares = [
        (key, word)
        for key in _size_keys(fields)
        for word in fields[key].get("enum", ())
        if _shape(word) == 1 and (_pixels(word) or DEFAULT_SIZE) == DEFAULT_SIZE
    ]
    return dict(squares[:1])


def _custom_word(fields: Mapping[str, Schema]) -> dict[str, Any]:
    """The property and enumeration value ("custom") that makes a model read width and height; empty without one."""
    if not {"width", "height"} <= fields.keys():
        return {}
    words = ((key, word) for key in _size_keys(fields) for word in fields[key].get("enum", ()))
    return dict([(key, word) for key, word in words if str(word).casefold() == "custom"][:1])


def _spans(fields: Mapping[str, Schema]) -> tuple[tuple[float, float], tuple[float, float]]:
    return bounds(fields["width"]), bounds(fields["height"])


def _sides(
    fields: Mapping[str, Schema], asked: Size, custom: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Width and height, scaled into their bounds; the aspect ratio is kept as far as the bounds allow."""
    spans = _spans(fields)
    if any(low > high or high < 1 for low, high in spans):
        return {}, False
    shrink = min(1.0, *(high / side for side, (_, high) in zip(asked, spans, strict=True)))
    grow = max(1.0, *(low / (side * shrink) for side, (low, _) in zip(asked, spans, strict=True)))
    width, height = (
        nearest_number(side * shrink * grow, fields[key])
        for key, side in zip(("width", "height"), asked, strict=True)
    )
    if width is None or height is None or float(width) < 1 or float(height) < 1:
        return {}, False
    return {**custom, "width": width, "height": height}, (float(width), float(height)) == asked


def _listed(fields: Mapping[str, Schema], asked: Size) -> tuple[dict[str, Any], bool]:
    """The nearest enumeration values: a size, or else an aspect ratio with a pixel count."""
    shape, area = asked[0] / asked[1], asked[0] * asked[1]
    sizes = [
        (_apart(size[0] / size[1], shape), _apart(size[0] * size[1], area), key, word)
        for key, word, size in _offers(fields, _pixels)
    ]
    ratios = [(_apart(ratio, shape), key, word) for key, word, ratio in _offers(fields, _ratio)]
    size = min(sizes, key=lambda option: option[:2], default=None)
    ratio = min(ratios, key=lambda option: option[0], default=None)
    if size and (ratio is None or size[0] <= ratio[0] + SAME_SHAPE):
        return {size[2]: size[3]}, size[:2] == (0, 0)
    sent = {ratio[1]: ratio[2]} if ratio else {}
    known = ratio is not None and ratio[0] == 0
    areas = set()
    for key in _size_keys(fields):
        if key not in sent and "enum" not in fields[key] and is_whole(fields[key]):
            side = nearest_number(math.sqrt(area), fields[key])
            if side is not None:
                sent[key] = side
                known = False
        elif key not in sent:
            words = [
                (_apart(pixels, area), word)
                for _, word, pixels in _offers({key: fields[key]}, _area)
            ]
            if words:
                distance, sent[key] = min(words, key=lambda option: option[0])
                areas.add(distance)
    return sent, known and areas == {0}


def _offers(
    fields: Mapping[str, Schema], meaning: Callable[[Any], T | None]
) -> list[tuple[str, Any, T]]:
    """(property, value, meaning) for the first property whose enumeration has values with such a meaning."""
    for key in _size_keys(fields):
        field = fields[key]
        free = key == "aspect_ratio" and "string" in types_of(field)
        words = field.get("enum", COMMON_RATIOS if free else ())
        if found := [(key, word, meant) for word in words if (meant := meaning(word)) is not None]:
            return found
    return []


def _pixels(word: Any) -> Size | None:
    match = _PIXELS.search(word) if isinstance(word, str) else None
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    return size if all(size) else None


def _ratio(word: Any) -> float | None:
    if isinstance(word, str) and word.casefold() in _SHAPE_WORDS:
        return _SHAPE_WORDS[word.casefold()]
    match = _RATIO.search(word) if isinstance(word, str) and not _pixels(word) else None
    width, height = (float(match[1]), float(match[2])) if match else (0, 0)
    return width / height if width and height else None


def _shape(word: Any) -> float | None:
    """Width / height, of an aspect ratio or of a size."""
    size = _pixels(word)
    return size[0] / size[1] if size else _ratio(word)


def _area(word: Any) -> float | None:
    """Pixels: ``1K`` is 1024 squared, ``1`` a megapixel, ``512`` a side."""
    text = str(word).casefold()
    if text in _AREA_WORDS:
        return _AREA_WORDS[text]
    match = _AREA.fullmatch(text)
    if not match or not float(match[1]):
        return None
    number = float(match[1])
    unit = match[2] or ("px" if number >= 64 else "mp")
    return {"k": (number * 1024) ** 2, "mp": number * 1024**2, "px": number**2}[unit]


def _apart(one: float, other: float) -> float:
    """Logarithmic distance of two ratios or two areas: twice is as far as half."""
    return abs(math.log(one / other))
