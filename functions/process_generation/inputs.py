"""A request and a model → the input of a prediction, and a note on what the model cannot honour.

Everything follows from the model's JSON Schema, nothing from its name. What is sent always
validates, unknown keys refused.
"""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from functions._shared.errors import InvalidRequest
from functions._shared.generation_request import GenerationRequest
from functions.process_generation.catalog import ImageModel, stored_format
from functions.process_generation.json_schema import (
    SEED_SPAN,
    Schema,
    allows,
    is_whole,
    nearest_number,
    nearest_seed,
)
from functions.process_generation.sizes import DEFAULT_SIZE, SIZE_KEYS, choose_size

# One idea has many names. The first that a model has is used.
STEPS_KEYS = ("num_inference_steps", "steps")
GUIDANCE_KEYS = ("guidance_scale", "guidance", "cfg", "cfg_scale")
IMAGE_KEYS = ("image", "input_image", "image_input", "input_images", "image_prompt")
DENOISE_KEYS = ("prompt_strength", "strength")
"""1 ignores the source picture, as in the request."""
KEEP_KEYS = ("image_prompt_strength",)
"""1 keeps the source picture."""
STYLE_KEYS = ("style", "style_type", "style_preset")
COUNT_KEYS = ("num_outputs", "number_of_images", "num_images", "max_images")
FORMAT_WORDS = ("webp", "png", "jpg", "jpeg", "svg")
"""The output formats that can be stored, best first."""

UNSUPPORTED = "not supported by this model"


class UnsupportedModel(InvalidRequest):
    """The model needs an input that a generation request does not carry, or takes no prompt."""


@dataclass(frozen=True)
class BuiltInput:
    """``adjustments``: one fragment a field, such as ``num_inference_steps: asked 30, sent 4``."""

    input: dict[str, Any]
    adjustments: tuple[str, ...]


def random_seed() -> int:
    return secrets.randbelow(SEED_SPAN)


def build_input(
    request: GenerationRequest, model: ImageModel, *, new_seed: Callable[[], int] = random_seed
) -> BuiltInput:
    """The input for ``model`` that comes nearest to ``request``, ``new_seed`` where it needs one.

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
        properties: dict[str, Schema] = self.model.schema["properties"]
        return properties

    def send(self, key: str, *values: Any) -> bool:
        """Put the first of ``values`` that ``key`` takes; False where there is none."""
        for value in values:
            if value is not None and key in self.fields and allows(self.fields[key], value):
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
    negative = request.negative_prompt  # even an empty one: it replaces the model's own
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
    for key in COUNT_KEYS:
        if draft.needs(key) or draft.fields.get(key, {}).get("default", 1) != 1:
            draft.send(key, 1)
    words = (draft.fields.get("output_format", {}).get("default"), *FORMAT_WORDS)
    storable = [word for word in words if word in FORMAT_WORDS]
    storable.sort(key=lambda word: stored_format(word) != draft.model.output_format)
    draft.send("output_format", *storable)


def _text(draft: _Draft, key: str, text: str) -> bool:
    limit = int(draft.fields.get(key, {}).get("maxLength", len(text)))
    if (text and limit < 1) or not draft.send(key, text[:limit]):
        return False
    if len(text) > limit:
        draft.note(key, f"asked {len(text)} characters, sent {limit}")
    return True


def _source(draft: _Draft, url: str | None) -> bool:
    """Whether a source picture goes in."""
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
        if limits is None or is_whole(limits):  # whole numbers are of another scale
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
    width, height = request.width or request.height, request.height or request.width
    asked = (width, height) if width and height else None
    chosen, exact = choose_size(draft.fields, asked, source=source)
    if asked is None and any(draft.needs(key) for key in ("width", "height", *SIZE_KEYS)):
        chosen, exact = choose_size(draft.fields, DEFAULT_SIZE, source=source)
    sent = {key: value for key, value in chosen.items() if draft.send(key, value)}
    if asked and not sent:
        draft.note("size", UNSUPPORTED)
    elif asked and not (exact and sent == chosen):
        sides = [f"{sent['width']}x{sent['height']}"] if {"width", "height"} <= sent.keys() else []
        words = [
            f"{k} {v}" for k, v in sent.items() if v != "custom" and (k in SIZE_KEYS or not sides)
        ]
        draft.note("size", f"asked {width}x{height}, sent {', '.join(sides + words)}")


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


def _style(draft: _Draft, asked: str) -> None:
    words = [
        (key, word)
        for key in STYLE_KEYS
        for word in draft.fields.get(key, {}).get("enum", ())
        if isinstance(word, str)
    ]
    # The whole word first: digital_illustration is no sub-style of itself.
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
    """Add what the schema requires and nobody chose. Raises UnsupportedModel, naming the field."""
    schema, model_id = draft.model.schema, draft.model.replicate_id
    for key in schema.get("required", ()):
        limits = draft.fields.get(key, {})
        only = limits.get("enum", ()) if len(limits.get("enum", ())) == 1 else ()
        if key not in draft.input and not draft.send(key, limits.get("default"), *only):
            wanted = key in IMAGE_KEYS and not source
            why = "send source_image_url" if wanted else "a request cannot carry it"
            raise UnsupportedModel(f"{model_id} requires {key!r}: {why}")
    if not allows({**schema, "additionalProperties": False}, draft.input):
        raise UnsupportedModel(f"{model_id} sets conditions between its inputs that cannot be met")
