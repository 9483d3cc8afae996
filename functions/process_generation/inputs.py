"""A request and a model → the input of a prediction, with an adjustment for each field that the model cannot honour.

Schema-driven: everything follows from the model's JSON Schema (``image_models/meaning``), nothing from its name. The
input always validates against it, also with unknown keys refused.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import ImageModel
from functions._shared.image_models.describe import is_secret
from functions._shared.image_models.json_schema import SEED_SPAN
from functions.process_generation.draft import Draft, UnsupportedModel
from functions.process_generation.frame import send_frame
from functions.process_generation.numbers import send_count, send_number, send_seed
from functions.process_generation.own_input import check_own_input
from functions.process_generation.source import send_source, send_strength
from functions.process_generation.words import (
    send_format,
    send_negative_prompt,
    send_style,
    send_text,
)


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

    Raises UnsupportedModel; InvalidRequest for an ``input`` that the model does not take.
    """
    own = request.input or {}
    check_own_input(own, model)
    draft = Draft(model, dict(own), [*(request.reading_notes or ())], frozenset(own))
    try:
        _fill(draft, request, new_seed)
    except OverflowError:
        raise UnsupportedModel(f"{model.replicate_id} has limits beyond any number") from None
    _complete(draft)
    return BuiltInput(draft.input, tuple(draft.adjustments))


def check_buildable(request: GenerationRequest, model: ImageModel) -> None:
    """Dry run before a request is queued. Raises as ``build_input`` does; free where nothing could be refused."""
    wanted = model.schema.get("required", ())
    if request.input or any(
        key != model.meaning.prompt and model.all_properties.get(key, {}).get("default") is None
        for key in wanted
    ):
        build_input(request, model)


def _fill(draft: Draft, request: GenerationRequest, new_seed: Callable[[], int]) -> None:
    means = draft.means
    for key, value in draft.model.defaults.items():
        draft.send(key, value)
    if not (means.prompt and send_text(draft, "prompt", means.prompt, request.prompt)):
        raise UnsupportedModel(f"{draft.model.replicate_id} takes no text prompt")
    send_negative_prompt(draft, request.negative_prompt)
    source = send_source(draft, request.source_image_url)
    send_strength(draft, request.strength, source=source)
    send_frame(draft, request, source=source)
    send_number(draft, "num_inference_steps", means.steps, request.num_inference_steps)
    send_number(draft, "guidance_scale", means.guidance, request.guidance_scale)
    send_seed(draft, request.seed, new_seed)
    if request.style and request.style.strip():
        send_style(draft, request.style)
    send_count(draft, request.num_outputs, source=source)
    send_format(draft, request.output_format)


def _complete(draft: Draft) -> None:
    """Fill the required fields that are still absent. Raises UnsupportedModel, naming the field."""
    schema, model_id = draft.model.schema, draft.model.replicate_id
    source = draft.means.source
    for key in schema.get("required", ()):
        limits = draft.model.all_properties.get(key, {})
        only = limits.get("enum", ()) if len(limits.get("enum", ())) == 1 else ()
        if key not in draft.input and not draft.send(key, limits.get("default"), *only):
            why = "send it in input"
            if source and key == source.key:
                why = "send source_image_url"
            elif not limits or is_secret(key, limits):
                why = "a request cannot carry it"
            raise UnsupportedModel(f"{model_id} requires {key!r}: {why}")
    if not draft.model.accepts(draft.input):
        raise UnsupportedModel(f"{model_id} sets conditions between its inputs that cannot be met")
