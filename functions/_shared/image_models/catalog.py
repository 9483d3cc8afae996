"""The catalogue of image models shipped with the code: names, input schemas, chosen defaults.

The facts of a model (JSON Schema of its input, version, aliases) are a file in ``schemas/``; its row
here adds what no schema states. A new model is a new file and a new row.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from functions._shared.errors import InvalidRequest
from functions._shared.image_models.json_schema import Schema, narrowed
from functions._shared.image_models.meaning import Meaning, read_meaning
from functions._shared.image_models.meaning.roles import format_key
from functions._shared.image_models.schema_reader import read_schema

if TYPE_CHECKING:
    from functions._shared.image_models.validity import Validator

STORED_FORMATS = ("webp", "png", "jpeg", "svg")
"""The values of images.format, in order of preference."""


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """One model. ``schema`` is flattened (see ``read_schema``)."""

    replicate_id: str
    name: str
    """The display name; column ``models.name``."""
    schema: Schema = field(default_factory=dict)
    version: str | None = None
    """The version hash of a community model; None for an official model, which is called by name."""
    aliases: tuple[str, ...] = ()
    output_format: str = "png"
    """The model's default output format: webp, png, jpeg or svg."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Input key → the value to send when the request sets none."""
    overlay: Mapping[str, Schema] = field(default_factory=dict)
    """Property → constraints that the provider enforces and its schema omits."""
    unusable: frozenset[str] = frozenset()
    """Properties without effect, or that require another property that no field of a request means."""
    random_seed: bool = False
    """Whether to send a random seed when the request has none, as the model's own default is constant."""
    price_usd: float | None = None
    """US dollars a picture, by public notes of October 2026; None: unknown, or priced otherwise."""
    typical_seconds: float | None = None
    """Seconds from request to picture, by the same notes."""

    @cached_property
    def properties(self) -> dict[str, Schema]:
        """Input key → its JSON Schema, without the ``unusable`` ones."""
        return {k: v for k, v in self.all_properties.items() if k not in self.unusable}

    @property
    def all_properties(self) -> dict[str, Schema]:
        """Input key → its JSON Schema: what the ``input`` of a request may hold."""
        properties: dict[str, Schema] = self.schema["properties"]
        return properties

    @cached_property
    def meaning(self) -> Meaning:
        """Which input key means which field of a request."""
        return read_meaning(self.properties, tuple(self.schema.get("required", ())))

    @cached_property
    def _validators(self) -> "dict[str, Validator]":
        from functions._shared.image_models.validity import Validator

        return {key: Validator(schema) for key, schema in self.all_properties.items()}

    @cached_property
    def _closed(self) -> "Validator":
        from functions._shared.image_models.validity import Validator

        return Validator({**self.schema, "additionalProperties": False})

    def takes(self, key: str, value: Any) -> bool:
        """Whether the model has an input ``key`` for which ``value`` is valid."""
        return key in self._validators and self._validators[key].is_valid(value)

    def accepts(self, model_input: dict[str, Any]) -> bool:
        """Whether the input as a whole is valid; unknown keys are not."""
        return self._closed.is_valid(model_input)


# Prompt rewriting makes a model non-deterministic: one prompt and seed would give another picture each time.
_NO_REWRITING = {
    "prompt_upsampling": False,
    "magic_prompt_option": "Off",
    "enhance_prompt": False,
    "prompt_optimizer": False,
}
_BY_8 = {side: {"multipleOf": 8} for side in ("width", "height")}
_BY_16 = {side: {"multipleOf": 16} for side in ("width", "height")}
_BY_32 = {side: {"multipleOf": 32} for side in ("width", "height")}
# The schema states no bounds: those of the other models of its family.
_FLUX_2_DEV = {s: {"minimum": 256, "maximum": 1440, "multipleOf": 32} for s in ("width", "height")}
_NEEDS_MASK = frozenset(
    {"image", "mask"}
)  # inpainting: valid only together, and a request carries no mask
_NO_EFFECT = frozenset({"negative_prompt", "num_outputs", "safety_tolerance", "model_version"})


def with_schema(model: ImageModel, schema: Schema) -> ImageModel:
    """``model`` with this input schema narrowed by its overlay, and the defaults that are valid in it."""
    from functions._shared.image_models.validity import allows

    changed = _with_own_schema(model, schema)
    properties = changed.all_properties
    defaults = {
        key: value for key, value in changed.defaults.items() if allows(properties[key], value)
    }
    return replace(changed, defaults=defaults)


def _with_own_schema(model: ImageModel, schema: Schema) -> ImageModel:
    """``with_schema`` for a schema that is shipped: all defaults for its properties are valid in it."""
    properties = dict(schema["properties"])
    for name in model.overlay.keys() & properties.keys():
        properties[name] = narrowed(properties[name], model.overlay[name])
    defaults = {
        key: value
        for key, value in {**_NO_REWRITING, **model.defaults}.items()
        if key in properties
    }
    return replace(model, schema={**schema, "properties": properties}, defaults=defaults)


def _row(replicate_id: str, name: str, **chosen: Any) -> ImageModel:
    facts = _FACTS[replicate_id]
    row = ImageModel(
        replicate_id=replicate_id,
        name=name,
        version=None if facts["official"] else facts["version"],
        aliases=tuple(facts["aliases"]),
        output_format=stored_format(facts["output"]["format_default"]),
        **chosen,
    )
    return _with_own_schema(row, facts["input"])


def stored_format(output_format: str) -> str:
    """Normalise a provider's format name to ours: ``jpg`` is ``jpeg``."""
    word = output_format.lower()
    return "jpeg" if word == "jpg" else word


_FILES = resources.files("functions._shared.image_models").joinpath("schemas").iterdir()
_FACTS: Mapping[str, Any] = {
    facts["model"]: facts
    for facts in (json.loads(f.read_text("utf-8")) for f in _FILES if f.name.endswith(".json"))
}

_ROWS = (
    _row("black-forest-labs/flux-schnell", "FLUX Schnell", price_usd=0.003, typical_seconds=1),
    _row("black-forest-labs/flux-dev", "FLUX Dev", price_usd=0.025, typical_seconds=2),
    # A default of our own, as published sources disagree on the model's.
    _row(
        "black-forest-labs/flux-krea-dev",
        "FLUX Krea Dev",
        defaults={"guidance": 4.5},
        price_usd=0.025,
    ),
    _row(
        "black-forest-labs/flux-1.1-pro",
        "FLUX 1.1 Pro",
        overlay=_BY_32,
        price_usd=0.04,
        typical_seconds=4.5,
    ),
    _row("stability-ai/sdxl", "SDXL", overlay=_BY_8, defaults={"apply_watermark": False}),
    _row("bytedance/sdxl-lightning-4step", "SDXL Lightning", overlay=_BY_8, random_seed=True),
    _row("stability-ai/stable-diffusion-3.5-large", "Stable Diffusion 3.5 Large", price_usd=0.065),
    _row(
        "ideogram-ai/ideogram-v3-turbo", "Ideogram V3 Turbo", unusable=_NEEDS_MASK, price_usd=0.03
    ),
    _row("google/imagen-4-fast", "Imagen 4 Fast", price_usd=0.02),
    _row("recraft-ai/recraft-v3", "Recraft V3", price_usd=0.04),
    _row("recraft-ai/recraft-v3-svg", "Recraft V3 SVG", price_usd=0.08),
    _row("bytedance/seedream-3", "Seedream 3", price_usd=0.03),
    _row("bytedance/seedream-4", "Seedream 4", price_usd=0.03, typical_seconds=14),
    _row("qwen/qwen-image", "Qwen Image", price_usd=0.025, typical_seconds=3.5),
    _row(
        "black-forest-labs/flux-1.1-pro-ultra",
        "FLUX 1.1 Pro Ultra",
        price_usd=0.06,
        typical_seconds=8,
    ),
    _row("black-forest-labs/flux-kontext-pro", "FLUX Kontext Pro", price_usd=0.04),
    _row("black-forest-labs/flux-2-pro", "FLUX 2 Pro", overlay=_BY_32, typical_seconds=11),
    _row("black-forest-labs/flux-2-dev", "FLUX 2 Dev", overlay=_FLUX_2_DEV),
    _row("stability-ai/stable-diffusion-3.5-medium", "Stable Diffusion 3.5 Medium"),
    _row(
        "ideogram-ai/ideogram-v3-balanced",
        "Ideogram V3 Balanced",
        unusable=_NEEDS_MASK,
        price_usd=0.06,
    ),
    _row(
        "ideogram-ai/ideogram-v3-quality",
        "Ideogram V3 Quality",
        unusable=_NEEDS_MASK,
        price_usd=0.09,
    ),
    _row("google/imagen-4", "Imagen 4", price_usd=0.04),
    _row("google/imagen-4-ultra", "Imagen 4 Ultra", price_usd=0.06),
    _row("google/nano-banana", "Nano Banana", price_usd=0.039, typical_seconds=10),
    _row("google/nano-banana-2", "Nano Banana 2"),
    _row("google/nano-banana-pro", "Nano Banana Pro"),
    _row("bytedance/seedream-4.5", "Seedream 4.5", price_usd=0.04),
    _row("openai/gpt-image-1", "GPT Image 1"),
    _row("openai/gpt-image-1.5", "GPT Image 1.5"),
    _row("prunaai/z-image-turbo", "Z-Image Turbo", overlay=_BY_16, unusable=_NO_EFFECT),
    # A character reference, the face of a person: not a picture to start from.
    _row(
        "minimax/image-01",
        "MiniMax Image 01",
        unusable=frozenset({"subject_reference"}),
        price_usd=0.01,
    ),
)
CATALOG: Mapping[str, ImageModel] = {row.replicate_id: row for row in _ROWS}
_SPELLINGS = {word.casefold(): row for row in _ROWS for word in (row.replicate_id, *row.aliases)}


def find_model(model_id: str) -> ImageModel | None:
    """Find a model by id or alias, case-insensitively."""
    return _SPELLINGS.get(model_id.strip().casefold())


def unknown_model(model_id: str, why: str = "") -> InvalidRequest:
    """The error for an unknown model, with the up to three nearest ids (did you mean)."""
    near = ", ".join(_nearest(model_id))
    return InvalidRequest(f"Unknown model {model_id}{why}" + (f", perhaps {near}" if near else ""))


def _nearest(model_id: str) -> list[str]:
    word = model_id.strip().casefold()
    near = difflib.get_close_matches(word, _SPELLINGS, n=6, cutoff=0.4)
    near += difflib.get_close_matches(word.rpartition("/")[2], _SPELLINGS, n=6, cutoff=0.4)
    return list(dict.fromkeys(_SPELLINGS[spelling].replicate_id for spelling in near))[:3]


def model_from_schema(replicate_id: str, schema: object) -> ImageModel:
    """Build a model from an untrusted schema: a bare Input schema, or a document that contains one.

    The catalogue's row of that id, if any, still applies. Raises InvalidRequest for an unreadable schema.
    """
    try:
        plain = read_schema(schema)
    except ValueError as error:
        raise InvalidRequest(f"schema: {error}") from None
    properties = plain["properties"]
    word = stored_format(str(properties.get(format_key(properties) or "", {}).get("default")))
    unknown = ImageModel(
        replicate_id=replicate_id,
        name=replicate_id.rpartition("/")[2],
        output_format=word if word in STORED_FORMATS else "png",
    )
    return with_schema(find_model(replicate_id) or unknown, plain)
