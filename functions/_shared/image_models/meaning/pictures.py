"""Which property takes the source picture, and which switch makes the model look at it."""

import re
from dataclasses import dataclass
from typing import Any

from functions._shared.image_models.json_schema import Schema, types_of
from functions._shared.image_models.meaning.fields import (
    Properties,
    by_names,
    description_of,
    listed_words,
    snake_case,
    words,
)

NAMES = (
    "image", "input_image", "image_input", "input_images", "init_image", "initial_image", "img2img_image",
    "img_to_img_image", "image_to_image", "source_image", "start_image", "starting_image", "image_path", "image_prompt",
    "base_image", "img", "input", "image_reference_url", "reference_image",
)  # fmt: skip
"""Names of the picture that the drawing starts from, best first."""
FIRST_OF_SEVERAL = (
    "main_face_image", "image1", "image_1", "img1", "first_image", "input_image1", "face_image", "identity_image",
    "subject_image",
)  # fmt: skip
"""Names of the principal picture of a model that takes several."""

_PICTURE = words(
    r"image | img | photo | picture | \bface | artwork | sketch | subject | url\ of\ a\ reference"
)
_NO_PICTURE = words(
    r"""\blora | weights? | checkpoint | safetensors | \.tar | \bzip | \bvideo | \bgif\b | audio | \bsong
    | music | settings
    | \bfont | embedding | \bcsv | json | 3d\ model | \bmodel$"""
)
_MASK = words(r"(?<!un)mask(?!ed\ image) | \b inpainting_?mask")
_MASK_DESCRIBED = words(
    r"""^(an?\ |the\ |input\ |optional\ |inpaint(ing)?\ )*(black\ and\ white\ |binary\ |inverted\ )*mask
    | black\ and\ white\ image\ to\ use\ as\ mask | pixels\ (in\ the\ mask\ )?will\ be\ (repainted|inpainted)"""
)
_NEEDS_MASK = words(
    r"mask\ is\ required | must\ (also\ )?(use|provide|be\ used\ with)\ a?\ ?mask | requires?\ a\ mask"
)
_STYLE_ONLY = words(r"^(style|image_style) | style_(image|reference)")
_START = words(
    r"""(image|img)\ ?(2|to)\ ?(image|img) | variations? | starting\ (point|image) | init(ial)?\ image
    | image\ to\ start"""
)
_IMG2IMG = words(r"(^|[_\s-])(img|image)[_\s-]?(2|to)[_\s-]?(img|image)$ | ^vary\b")
_TEXT2IMG = words(r"^(\w+_)?(text|txt|t)[_\s-]?(2|to)[_\s-]?(img|image|i)$ | ^(disabled|none|off)$")


@dataclass(frozen=True)
class Source:
    """``key`` takes the picture, in a list where ``many``; ``switches``: further inputs without which it is ignored."""

    key: str
    many: bool
    switches: tuple[tuple[str, Any], ...] = ()

    def value(self, url: str) -> str | list[str]:
        return [url] if self.many else url


def picture_keys(properties: Properties) -> list[str]:
    """The properties that take a picture by its address, masks not among them."""
    return [key for key, limits in properties.items() if _takes_picture(key, limits)]


def file_keys(properties: Properties) -> frozenset[str]:
    """The properties whose addresses are pictures, masks among them."""
    masks = {
        key
        for key, limits in properties.items()
        if _MASK.search(snake_case(key)) and limits.get("format") == "uri"
    }
    return frozenset(masks | set(picture_keys(properties)))


def source_of(properties: Properties, required: tuple[str, ...] = ()) -> Source | None:
    """The property for the source picture; None where there is none, or several and it is not clear which."""
    pictures = {
        key: properties[key]
        for key in picture_keys(properties)
        if not _NEEDS_MASK.search(description_of(properties[key]))
    }
    key = _choose(pictures, required)
    if key is None:
        return None
    limits = properties[key]
    many = "array" in types_of(limits) and "string" not in types_of(limits)
    return Source(key, many, _switches(properties, key))


def _choose(pictures: dict[str, Schema], required: tuple[str, ...]) -> str | None:
    if named := by_names(pictures, NAMES):
        return named[0]
    drawn = [key for key in pictures if not _STYLE_ONLY.search(snake_case(key))]
    if len(drawn) == 1 and (len(pictures) == 1 or "format" in pictures[drawn[0]]):
        return drawn[0]
    started = [key for key in drawn if _START.search(description_of(pictures[key]))]
    if len(started) == 1:
        return started[0]
    if first := by_names({key: pictures[key] for key in drawn}, FIRST_OF_SEVERAL):
        return first[0]
    if len({re.sub(r"[0-9]+$", "", key) for key in drawn}) == 1 < len(drawn):
        return min(drawn, key=lambda key: (len(key), key))  # a numbered series: the first
    wanted = [key for key in drawn if key in required]
    return wanted[0] if len(wanted) == 1 else None


def _takes_picture(key: str, limits: Schema) -> bool:
    name, text = snake_case(key), description_of(limits)
    item = limits.get("items", {}) if "array" in types_of(limits) else limits
    if not isinstance(item, dict) or (types_of(item) and "string" not in types_of(item)):
        return False
    if "enum" in item or _MASK.search(name) or _MASK_DESCRIBED.search(text):
        return False
    if item.get("format") == "uri":
        return not _NO_PICTURE.search(f"{name}\n{text}") or bool(_PICTURE.search(name))
    # Without a format a text could be anything: only a name or a description that says so makes it a picture.
    if name.endswith("_url"):
        return bool(_PICTURE.search(name)) and "url" in text.casefold()
    known = name in NAMES or name in FIRST_OF_SEVERAL
    return known and name not in {"input", "image_path"} and item.get("format") is None


def _switches(properties: Properties, source: str) -> tuple[tuple[str, Any], ...]:
    """Inputs that turn image-to-image on: a boolean such as ``img2img``, or a task whose default is text-to-image."""
    found: list[tuple[str, Any]] = []
    for key, limits in properties.items():
        name = snake_case(key).removeprefix("enable_").removeprefix("use_")
        if "boolean" in types_of(limits) and _IMG2IMG.search(name) and key != source:
            found.append((key, True))
        offered = listed_words(limits)
        default = limits.get("default")
        if isinstance(default, str) and _TEXT2IMG.search(default) and len(offered) > 1:
            to_image = [word for word in offered if _IMG2IMG.search(word)]
            if to_image:
                found.append(
                    (
                        key,
                        min(to_image, key=len) if not to_image[0].startswith("V") else to_image[0],
                    )
                )
    return tuple(found)
