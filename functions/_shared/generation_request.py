"""The body of a generation: the same fields for start-generation, process-generation and generate-image."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from functions._shared.addresses import parse
from functions._shared.errors import InvalidRequest
from functions._shared.sources import REFERENCE

MAX_PROMPT_CHARACTERS = 10_000
MAX_OUTPUTS = 16
MAX_SIDE_PX = 4096
"""The longest side any model in the catalogue draws (seedream-4)."""


def _storable(text: str) -> str:
    # PostgreSQL stores neither in text or jsonb; JSON can spell both. No loop of ours: a picture inside a request has a
    # million characters, and each of its prompts comes with it.
    try:
        storable = "\x00" not in text and text.encode()
    except UnicodeEncodeError:
        storable = False
    if storable is False:
        raise PydanticCustomError("unstorable", "must not contain NUL or unpaired surrogates")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return text


def _whole(value: Any) -> Any:
    """Accept 1024.0 for 1024: to JavaScript they are the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_SIDE = r"(?!0+(\.0+)?(:|$))[0-9]{1,4}(\.[0-9]{1,4})?"
_RATIO = re.compile(f"^{_SIDE}:{_SIDE}$")


def _ratio(text: str) -> str:
    if not _RATIO.fullmatch(text):
        raise PydanticCustomError("ratio", "must be a ratio such as 16:9")
    return text


def _address(text: str) -> str:
    """Refuse an address that cannot be asked, whoever asks: https://xn--/, a port or a host that there cannot be."""
    if not text.startswith("data:"):
        try:
            parse(text)
        except InvalidRequest as refused:
            why = str(refused).removeprefix("The address").strip()
            raise PydanticCustomError("address", "{why}", {"why": why}) from None
    return text


def _shown(pattern: str) -> Any:
    """What a validator of ours asks for, for readers of the JSON Schema."""
    return Field(json_schema_extra={"pattern": pattern})


FILLED = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"
"""As ``_not_blank``, in JSON Schema's regular expressions (ECMA 262), whose blanks are fewer than Python's."""
Text = Annotated[str, AfterValidator(_storable), _shown(r"^[^\x00]*$")]
Filled = Annotated[Text, AfterValidator(_not_blank), _shown(FILLED)]
WHOLE = BeforeValidator(_whole)
_HOST = r"https://([A-Za-z0-9_][A-Za-z0-9_-]{0,61}\.){1,8}[A-Za-z][A-Za-z0-9_-]{0,61}"
_HTTPS = _HOST + r"(:[1-9][0-9]{0,3})?([/?#][!-~]*)?"
Side = Annotated[int, Field(ge=64, le=MAX_SIDE_PX), WHOLE]


class GenerationRequest(BaseModel):
    """One picture to make. Absent means "the model's own default"; 0 is a value like any other."""

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
    """``owner/name`` as Replicate spells it, or an alias of the catalogue."""
    model_version: Annotated[Text, Field(max_length=200)] | None = None
    width: Side | None = None
    """Pixels."""
    height: Side | None = None
    """Pixels."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1), WHOLE] | None = None
    negative_prompt: Annotated[Text, Field(max_length=MAX_PROMPT_CHARACTERS)] | None = None
    source_image_url: (
        Annotated[
            Text,
            Field(pattern=r"^(https?://|data:image/)"),
            AfterValidator(_address),
            _shown(rf"^({_HTTPS}|data:image/[^\x00]*)$"),
        ]
        | None
    ) = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """How far the result may leave the source image: 0 keeps it, 1 ignores it."""
    style: Annotated[Text, Field(max_length=200)] | None = None
    aspect_ratio: Annotated[Text, AfterValidator(_ratio), _shown(_RATIO.pattern)] | None = None
    """``16:9``; with one side given it gives the other, and beside two it counts for nothing."""
    num_outputs: Annotated[int, Field(ge=1, le=MAX_OUTPUTS), WHOLE] | None = None
    output_format: Literal["webp", "png", "jpg", "jpeg", "svg"] | None = None


class StartRequest(GenerationRequest):
    """start-generation's body: a generation, and perhaps where to tell of its end."""

    webhook_url: (
        Annotated[
            Text,
            Field(pattern=r"^https?://", max_length=2000),
            AfterValidator(_address),
            _shown(rf"^{_HTTPS}$"),
        ]
        | None
    ) = None


class QueuedRequest(GenerationRequest):
    """A job's: its source picture may be one that is kept (``sources.py``)."""

    source_image_url: (
        Annotated[
            Text,
            Field(pattern=rf"^(https?://|data:image/|{REFERENCE}[0-9a-f]{{64}}$)"),
            AfterValidator(_address),
        ]
        | None
    ) = None


class LegacyRequest(GenerationRequest):
    """generate-image's body: a generation, and perhaps the row the client has already inserted."""

    generation_id: Annotated[UUID, Field(strict=False)] | None = None
