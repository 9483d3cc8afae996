"""A generation: the request's fields, common to all functions, and its row as clients read it."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from functions._shared.database.pool import Pool
from functions._shared.web import lenient
from functions._shared.web.fields import WHOLE, Filled, PictureAddress, Ratio, Text
from functions._shared.web.own_input import OwnInput

MAX_PROMPT_CHARACTERS = 10_000
MAX_OUTPUTS = 16
MAX_SIDE_PX = 4096
"""The largest side of any model in the catalogue (seedream-4)."""

RANDOM_SEED = -1
"""As a request's seed: a random one, as other tools have it; which, ``adjustments`` tells."""
READERS: Mapping[str, lenient.Reader] = {
    "width": lenient.integer,
    "height": lenient.integer,
    "num_inference_steps": lenient.integer,
    "seed": lenient.integer,
    "num_outputs": lenient.integer,
    "guidance_scale": lenient.number,
    "strength": lenient.number,
    "aspect_ratio": lenient.ratio,
    "output_format": lenient.file_format,
}
MEANT_WHEN_EMPTY = frozenset({"prompt", "model_id", "negative_prompt"})
"""Fields whose empty text is no absence: two are required, one replaces the model's default."""

MAX_NOTES = 40
Note = Annotated[Text, Field(max_length=300)]

Side = Annotated[int, Field(ge=64, le=MAX_SIDE_PX), WHOLE]


class GenerationRequest(BaseModel):
    """One generation. An absent field means the model's own default; 0 is no absence."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    prompt: Annotated[Filled, Field(max_length=MAX_PROMPT_CHARACTERS)]
    model_id: Annotated[Filled, Field(max_length=200)]
    """Replicate's ``owner/name``, or an alias of the catalogue."""
    model_version: Annotated[Text, Field(max_length=200)] | None = None
    width: Side | None = None
    """Pixels."""
    height: Side | None = None
    """Pixels."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1), WHOLE] | None = None
    """-1: a random seed."""
    negative_prompt: Annotated[Text, Field(max_length=MAX_PROMPT_CHARACTERS)] | None = None
    source_image_url: PictureAddress | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """Denoising strength: 0 keeps the source image, 1 ignores it."""
    style: Annotated[Text, Field(max_length=200)] | None = None
    aspect_ratio: Ratio | None = None
    """``16:9``; completes a single side; without effect where both sides are given. Or the model's own word:
    ``match_input_image``, ``auto``, ``custom``.
    """
    num_outputs: Annotated[int, Field(ge=1, le=MAX_OUTPUTS), WHOLE] | None = None
    output_format: Literal["webp", "png", "jpg", "jpeg", "svg"] | None = None
    input: OwnInput | None = None
    """Inputs of the model's own, by its schema: they go over what the other fields would send."""
    reading_notes: SkipJsonSchema[Annotated[list[Note], Field(max_length=MAX_NOTES)] | None] = None
    """Notes for ``adjustments`` from reading the body; a client's are unknown."""

    from_queue: ClassVar[bool] = False
    """Whether ``reading_notes`` come from a body read earlier."""

    @model_validator(mode="before")
    @classmethod
    def _read_leniently(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
            return data
        meant, notes = lenient.read(data, _fields_of(cls), READERS, MEANT_WHEN_EMPTY)
        if notes and not cls.from_queue:
            meant["reading_notes"] = notes
        return meant


@cache
def _fields_of(model: type[GenerationRequest]) -> frozenset[str]:
    """The fields that a body may have."""
    return frozenset(model.model_fields) - (set() if model.from_queue else {"reading_notes"})


WITH_IMAGES = """
to_jsonb(generation) || jsonb_build_object('images', coalesce(
    (select jsonb_agg(image order by image.created_at) from public.images as image
     where image.generation_id = generation.id), '[]'::jsonb))
"""
"""A row ``generation`` of image_generations as clients read it."""
GENERATION = f"""
select {WITH_IMAGES} as generation from public.image_generations as generation where generation.id = %s
"""  # noqa: S608 - a literal


async def find_generation(pool: Pool, generation_id: UUID) -> dict[str, Any] | None:
    """The row with its images, as JSON; None where there is none."""
    async with pool.connection() as connection:
        cursor = await connection.execute(GENERATION, (generation_id,))
        row = await cursor.fetchone()
    return row["generation"] if row else None
