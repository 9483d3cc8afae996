"""A request's size and aspect ratio → the keys by which the model takes them."""

import math
from collections.abc import Mapping
from typing import Any

from functions._shared.generation import GenerationRequest
from functions._shared.image_models.json_schema import Schema
from functions._shared.web.fields import RATIO_WORDS
from functions.process_generation.draft import UNSUPPORTED, Draft
from functions.process_generation.sizes import (
    DEFAULT_SIZE,
    SAME_SHAPE,
    Size,
    choose_shape,
    choose_size,
    word_of,
)


def send_frame(draft: Draft, request: GenerationRequest, *, source: bool) -> None:
    """Send the size that comes nearest to what was asked: its shape before its area."""
    asked = request.aspect_ratio
    if own := sorted(draft.own & draft.means.frame_keys):
        if asked or request.width or request.height:
            draft.note("size", f"{', '.join(own)} of input is sent instead")
        return
    if asked in RATIO_WORDS and asked is not None:
        if _send_word(draft, asked, sized=bool(request.width and request.height)):
            return
        asked = None
    _send_size(draft, request.width, request.height, asked, source=source)


def _send_word(draft: Draft, asked: str, *, sized: bool) -> bool:
    """Whether the ratio in words settles the size; ``custom`` leaves that to width and height."""
    if asked == "custom" and sized:
        return False
    found = word_of(_canonical(draft), asked)
    if asked != "custom" and found and draft.send(*found):
        return True
    draft.note(
        "aspect_ratio", "custom needs width and height" if asked == "custom" else UNSUPPORTED
    )
    return False


def _send_size(
    draft: Draft, width: int | None, height: int | None, ratio: str | None, *, source: bool
) -> None:
    shape = _shape(ratio)
    if shape and width and height and abs(math.log(shape * height / width)) > SAME_SHAPE:
        draft.note("aspect_ratio", f"asked {ratio}, but width and height are given")
    elif shape and not (width or height):
        _send_ratio(draft, ratio or "", shape)
        return
    across, down = (shape, 1 / shape) if shape else (1.0, 1.0)
    width, height = (
        width or (height and round(height * across)),
        height or (width and round(width * down)),
    )
    asked = (width, height) if width and height else None
    fields = _canonical(draft)
    chosen, exact = choose_size(fields, _shrunk(draft, asked), source=source)
    if asked is None and any(draft.needs(key) for key in draft.means.frame_keys):
        chosen, exact = choose_size(fields, _shrunk(draft, DEFAULT_SIZE), source=source)
    sent = _send_all(draft, chosen)
    if asked and not sent:
        draft.note("size", UNSUPPORTED)
    elif asked and not (exact and sent == chosen and not _is_bound(draft, sent)):
        draft.note("size", f"asked {width}x{height}, sent {_in_words(draft, sent)}")


def _send_ratio(draft: Draft, asked: str, shape: float) -> None:
    fields = _canonical(draft)
    if draft.means.sides and draft.means.sides.bound:  # maxima do not set a ratio
        fields = {key: fields[key] for key in draft.means.size_keys}
    chosen, exact = choose_shape(fields, shape)
    sent = _send_all(draft, chosen)
    if not sent:
        draft.note("aspect_ratio", UNSUPPORTED)
    elif not (exact and sent == chosen):
        told = _in_words(draft, sent).removeprefix("aspect_ratio ")
        draft.note("aspect_ratio", f"asked {asked}, sent {told}")


def _canonical(draft: Draft) -> Mapping[str, Schema]:
    """The properties of the size, the sides as ``width`` and ``height`` whatever their names are."""
    means = draft.means
    fields = {key: draft.fields[key] for key in means.size_keys}
    if means.sides:
        fields["width"] = draft.fields[means.sides.width]
        fields["height"] = draft.fields[means.sides.height]
    return fields


def _send_all(draft: Draft, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Send the choice under the model's own keys; returns the part of it that was sent."""
    sides = draft.means.sides
    names = {"width": sides.width, "height": sides.height} if sides else {}
    return {key: value for key, value in chosen.items() if draft.send(names.get(key, key), value)}


def _shrunk(draft: Draft, asked: Size | None) -> Size | None:
    """The size to ask of a model that draws a multiple of it."""
    factor = draft.means.sides.factor if draft.means.sides else 1
    return asked and (max(1, asked[0] // factor), max(1, asked[1] // factor))


def _is_bound(draft: Draft, sent: Mapping[str, Any]) -> bool:
    """Whether the sides are only maxima, so that the size is not known."""
    return draft.means.sides is not None and draft.means.sides.bound and "width" in sent


def _shape(ratio: str | None) -> float | None:
    """The aspect ratio as a number, width divided by height."""
    across, _, down = (ratio or "").partition(":")
    return float(across) / float(down) if down else None


def _in_words(draft: Draft, sent: dict[str, Any]) -> str:
    factor = draft.means.sides.factor if draft.means.sides else 1
    sides = []
    if {"width", "height"} <= sent.keys():
        most = "at most " if _is_bound(draft, sent) else ""
        sides = [f"{most}{int(sent['width']) * factor}x{int(sent['height']) * factor}"]
    others = [f"{key} {word}" for key, word in sent.items() if key not in {"width", "height"}]
    return ", ".join(
        sides + [text for text in others if not (sides and text.casefold().endswith(" custom"))]
    )
