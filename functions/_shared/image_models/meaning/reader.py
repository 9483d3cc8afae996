"""A model's properties → the key that means each field of a request."""

from dataclasses import dataclass

from functions._shared.image_models.json_schema import Schema
from functions._shared.image_models.meaning.fields import Properties
from functions._shared.image_models.meaning.frame import Sides, sides_of, size_keys_of
from functions._shared.image_models.meaning.pictures import Source, picture_keys, source_of
from functions._shared.image_models.meaning.roles import (
    COUNT,
    NEGATIVE_PROMPT,
    SEED,
    format_key,
    guidance_key,
    prompt_key,
    steps_key,
    style_keys,
)
from functions._shared.image_models.meaning.strength import Strength, is_guidance, strength_of


@dataclass(frozen=True)
class Meaning:
    """The input key for each field of a request; None and empty: the model has no such input."""

    prompt: str | None
    negative_prompt: str | None
    steps: str | None
    guidance: str | None
    seed: str | None
    count: str | None
    styles: tuple[str, ...]
    output_format: str | None
    source: Source | None
    pictures: tuple[str, ...]
    """All properties that take a picture, the source's among them."""
    strength: Strength | None
    sides: Sides | None
    size_keys: tuple[str, ...]

    @property
    def frame_keys(self) -> frozenset[str]:
        """All keys that express a size."""
        sides = (self.sides.width, self.sides.height) if self.sides else ()
        return frozenset((*sides, *self.size_keys))

    @property
    def keys(self) -> frozenset[str]:
        """All keys that a request's own fields can set."""
        single = (
            self.prompt,
            self.negative_prompt,
            self.steps,
            self.guidance,
            self.seed,
            self.count,
            self.output_format,
        )
        pictured = (
            (self.source.key, *(key for key, _ in self.source.switches)) if self.source else ()
        )
        strength = (self.strength.key,) if self.strength else ()
        chosen = {*single, *self.styles, *pictured, *strength} - {None}
        return frozenset(key for key in chosen if key) | self.frame_keys


def read_meaning(properties: Properties, required: tuple[str, ...] = ()) -> Meaning:
    """Read the properties of a flattened Input schema (``read_schema``); ``required``: its required keys."""
    strength = strength_of(properties)
    return Meaning(
        prompt=prompt_key(properties, required),
        negative_prompt=NEGATIVE_PROMPT.find(properties),
        steps=steps_key(properties),
        guidance=guidance_key(properties) or _prompt_strength(properties),
        seed=SEED.find(properties),
        count=COUNT.find(properties),
        styles=style_keys(properties),
        output_format=format_key(properties),
        source=source_of(properties, required),
        pictures=tuple(picture_keys(properties)),
        strength=strength,
        sides=sides_of(properties),
        size_keys=size_keys_of(properties),
    )


def _prompt_strength(properties: Properties) -> str | None:
    """``prompt_strength`` where its description says that it is the guidance scale."""
    limits: Schema = properties.get("prompt_strength", {})
    return "prompt_strength" if limits and is_guidance(limits) else None
