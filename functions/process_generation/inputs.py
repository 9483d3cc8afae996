"""A request and a model → the input of a prediction, with an adjustment for each field that the model cannot honour.

Schema-driven: everything follows from the model's JSON Schema, nothing from its name. The input always validates
against it, also with unknown keys refused.
"""

import math
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import ImageModel, stored_format
from functions._shared.image_models.json_schema import (
    SEED_SPAN,
    Schema,
    is_whole,
    nearest_number,
    nearest_seed,
)
from functions._shared.image_models.keys import (
    COUNT_KEYS,
    DENOISE_KEYS,
    GUIDANCE_KEYS,
    IMAGE_KEYS,
    KEEP_KEYS,
    SERIES_KEY,
    SIZE_KEYS,
    STEPS_KEYS,
    STYLE_KEYS,
)
from functions.process_generation.sizes import (
    DEFAULT_SIZE,
    SAME_SHAPE,
    choose_shape,
    choose_size,
)

FORMAT_WORDS = ("webp", "png", "jpg", "jpeg", "svg")
"""The output formats that can be stored, best first."""

MOST_PICTURES = 15
"""The most pictures of a series, the source picture included (seedream)."""
UNSUPPORTED = "not supported by this model"


class UnsupportedModel(InvalidRequest):
    """The model needs an input that a generation request does not carry, or takes no prompt."""


@dataclass(frozen=True)
class BuiltInput:
    """``adjustments``: a text for each changed field, such as ``num_inference_steps: asked 30, sent 4``."""

    input: dict[str, Any]
    adjustments: tuple[str, ...]


def random_seed() -> int:
    return secrets.randbelow(SEED_SPAN)


def build_input(
    request: GenerationRequest, model: ImageModel, *, new_seed: Callable[[], int] = random_seed
) -> BuiltInput:
    """The input for ``model`` that comes nearest to ``request``; ``new_seed`` makes a seed where one is needed.

    Raises UnsupportedModel.
    """
    draft = _Draft(model)
    try:
        _fill(draft, request, new_seed)
    except OverflowError:
        raise UnsupportedModel(f"{model.replicate_id} has limits beyond any number") from None
    _complete(draft, source=request.source_image_url is not None)
    return BuiltInput(draft.input, tuple(draft.adjustments))


def output_format_of(model_input: dict[str, Any], model: ImageModel) -> str:
    """webp, png, jpeg or svg: what ``model`` makes of ``model_input``."""
    return stored_format(str(model_input.get("output_format") or model.output_format))


@dataclass
class _Draft:
    model: ImageModel
    input: dict[str, Any] = field(default_factory=dict)
    adjustments: list[str] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Schema]:
        return self.model.properties

    def send(self, key: str, *values: Any) -> bool:
        """Set ``key`` to the first of ``values`` that the schema accepts; False where it accepts none."""
        for value in values:
            if value is not None and self.model.takes(key, value):
                self.input[key] = value
                return True
        return False

    def note(self, name: str, text: str) -> None:
        self.adjustments.append(f"{name}: {text}")

    def needs(self, key: str) -> bool:
        """Whether ``key`` is required, still absent, and without a default."""
        missing = key in self.model.schema.get("required", ()) and key not in self.input
        return missing and self.fields.get(key, {}).get("default") is None


def _fill(draft: _Draft, request: GenerationRequest, new_seed: Callable[[], int]) -> None:
    for key, value in draft.model.defaults.items():
        draft.send(key, value)
    if not _text(draft, "prompt", request.prompt):
        raise UnsupportedModel(f"{draft.model.replicate_id} takes no text prompt")
    negative = request.negative_prompt  # an empty text too: it replaces the model's default
    if negative is not None and not _text(draft, "negative_prompt", negative) and negative:
        draft.note("negative_prompt", UNSUPPORTED)
    source = _source(draft, request.source_image_url)
    _strength(draft, request.strength, source=source)
    _size(draft, request, source=source)
    _number(draft, "num_inference_steps", STEPS_KEYS, request.num_inference_steps)
    _number(draft, "guidance_scale", GUIDANCE_KEYS, request.guidance_scale)
    _seed(draft, request.seed, new_seed)
    if request.style and request.style.strip():
        _style(draft, request.style)
    _count(draft, request.num_outputs, source=source)
    _format(draft, request.output_format)


def _text(draft: _Draft, key: str, text: str) -> bool:
    limit = int(draft.fields.get(key, {}).get("maxLength", len(text)))
    if (text and limit < 1) or not draft.send(key, text[:limit]):
        return False
    if len(text) > limit:
        draft.note(key, f"asked {len(text)} characters, sent {limit}")
    return True


def _source(draft: _Draft, url: str | None) -> bool:
    """Whether the model takes a source picture and one is given."""
    if url is None:
        return False
    if any(draft.send(key, url, [url]) for key in IMAGE_KEYS):
        return True
    draft.note("source_image_url", UNSUPPORTED)
    return False


def _strength(draft: _Draft, asked: float | None, *, source: bool) -> None:
    if asked is None:
        return
    if not source:
        draft.note("strength", "has no effect without a source image")
        return
    for key in (*DENOISE_KEYS, *KEEP_KEYS):
        limits = draft.fields.get(key)
        if limits is None or is_whole(limits):  # an integer is on another scale than 0 to 1
            continue
        turned = key in KEEP_KEYS
        sent = nearest_number(1 - asked if turned else asked, limits)
        if sent is not None and draft.send(key, sent):
            meant = round(1 - sent, 9) if turned else sent
            if meant != round(asked, 9):
                draft.note("strength", f"asked {asked:g}, sent {meant:g}")
            return
    draft.note("strength", UNSUPPORTED)


def _size(draft: _Draft, request: GenerationRequest, *, source: bool) -> None:
    width, height, shape = request.width, request.height, _shape(request.aspect_ratio)
    if shape and width and height and abs(math.log(shape * height / width)) > SAME_SHAPE:
        draft.note("aspect_ratio", f"asked {request.aspect_ratio}, but width and height are given")
    elif shape and not (width or height):
        _ratio(draft, request.aspect_ratio or "", shape)
        return
    across, down = (shape, 1 / shape) if shape else (1.0, 1.0)
    width, height = (
        width or (height and round(height * across)),
        height or (width and round(width * down)),
    )
    asked = (width, height) if width and height else None
    chosen, exact = choose_size(draft.fields, asked, source=source)
    if asked is None and any(draft.needs(key) for key in ("width", "height", *SIZE_KEYS)):
        chosen, exact = choose_size(draft.fields, DEFAULT_SIZE, source=source)
    sent = {key: value for key, value in chosen.items() if draft.send(key, value)}
    if asked and not sent:
        draft.note("size", UNSUPPORTED)
    elif asked and not (exact and sent == chosen):
        draft.note("size", f"asked {width}x{height}, sent {_in_words(sent)}")


def _ratio(draft: _Draft, asked: str, shape: float) -> None:
    chosen, exact = choose_shape(draft.fields, shape)
    sent = {key: value for key, value in chosen.items() if draft.send(key, value)}
    if not sent:
        draft.note("aspect_ratio", UNSUPPORTED)
    elif not (exact and sent == chosen):
        told = _in_words(sent).removeprefix("aspect_ratio ")
        draft.note("aspect_ratio", f"asked {asked}, sent {told}")


def _shape(ratio: str | None) -> float | None:
    """The aspect ratio as a number, width divided by height."""
    across, _, down = (ratio or "").partition(":")
    return float(across) / float(down) if down else None


def _in_words(sent: dict[str, Any]) -> str:
    sides = [f"{sent['width']}x{sent['height']}"] if {"width", "height"} <= sent.keys() else []
    words = [f"{k} {v}" for k, v in sent.items() if v != "custom" and (k in SIZE_KEYS or not sides)]
    return ", ".join(sides + words)


def _number(draft: _Draft, name: str, keys: Iterable[str], asked: float | None) -> None:
    if asked is None:
        return
    for key in keys:
        if key in draft.fields:
            sent = nearest_number(asked, draft.fields[key])
            if draft.send(key, sent):
                if sent != asked:
                    draft.note(name, f"asked {asked:g}, sent {sent:g}")
                return
    draft.note(name, UNSUPPORTED)


def _seed(draft: _Draft, asked: int | None, new_seed: Callable[[], int]) -> None:
    if asked is None and not (draft.model.random_seed or draft.needs("seed")):
        return
    seed = new_seed() if asked is None else asked
    sent = nearest_seed(seed, draft.fields.get("seed", {}))
    if not draft.send("seed", sent):
        if asked is not None:
            draft.note("seed", UNSUPPORTED)
    elif asked not in (None, sent):
        draft.note("seed", f"asked {asked}, sent {sent}")


def _count(draft: _Draft, asked: int | None, *, source: bool) -> None:
    sent: Any = 1
    for key in COUNT_KEYS:
        limits = draft.fields.get(key)
        if limits is None:
            continue
        wanted = asked or 1
        if SERIES_KEY in draft.fields:
            if wanted > 1 and not draft.send(SERIES_KEY, "auto"):
                continue  # without "auto" the model ignores the count
            wanted = min(wanted, MOST_PICTURES - source)
        if wanted != limits.get("default", 1) or draft.needs(key):
            draft.send(key, nearest_number(wanted, limits))
        sent = draft.input.get(key, limits.get("default", 1))
        break
    if asked and sent != asked:
        draft.note("num_outputs", f"asked {asked}, sent {sent}")


def _format(draft: _Draft, asked: str | None) -> None:
    words = (draft.fields.get("output_format", {}).get("default"), *FORMAT_WORDS)
    storable = [word for word in words if word in FORMAT_WORDS]
    first = stored_format(asked) if asked else draft.model.output_format
    storable.sort(key=lambda word: stored_format(word) != draft.model.output_format)
    storable.sort(key=lambda word: stored_format(word) != first)
    draft.send("output_format", *storable)
    sent = output_format_of(draft.input, draft.model)
    if asked and sent != first:
        draft.note("output_format", f"asked {asked}, sent {sent}")


def _style(draft: _Draft, asked: str) -> None:
    words = [
        (key, word)
        for key in STYLE_KEYS
        for word in draft.fields.get(key, {}).get("enum", ())
        if isinstance(word, str)
    ]
    # Whole names before last parts: "digital_illustration" must not match as a sub-style.
    for ours, theirs in ((_folded, _folded), (_folded, _last_part), (_last_part, _folded)):
        for key, word in words:
            if ours(asked) == theirs(word) and draft.send(key, word):
                return
    draft.note("style", f"{asked!r} is not one of this model's styles" if words else UNSUPPORTED)


def _folded(style: str) -> str:
    return re.sub(r"[\s_-]+", "_", style.strip().casefold())


def _last_part(style: str) -> str:
    return _folded(style.rpartition("/")[2])


def _complete(draft: _Draft, *, source: bool) -> None:
    """Fill the required fields that are still absent. Raises UnsupportedModel, naming the field."""
    schema, model_id = draft.model.schema, draft.model.replicate_id
    for key in schema.get("required", ()):
        limits = draft.fields.get(key, {})
        only = limits.get("enum", ()) if len(limits.get("enum", ())) == 1 else ()
        if key not in draft.input and not draft.send(key, limits.get("default"), *only):
            wanted = key in IMAGE_KEYS and not source
            why = "send source_image_url" if wanted else "a request cannot carry it"
            raise UnsupportedModel(f"{model_id} requires {key!r}: {why}")
    if not draft.model.accepts(draft.input):
        raise UnsupportedModel(f"{model_id} sets conditions between its inputs that cannot be met")
