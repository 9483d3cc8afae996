"""What a picture may be turned into, by the query or a signed URL's claims; upstream's names and limits."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from functions._platform.storage.errors import invalid_request

MAX_SIDE = 2500
QUALITY = 80
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/avif": "AVIF"}
"""Content type → Pillow's name, of what is decoded and encoded."""
MEDIA_TYPES = {name: media_type for media_type, name in FORMATS.items()}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore")

    width: int = Field(0, ge=0)
    height: int = Field(0, ge=0)
    resize: Literal["cover", "contain", "fill"] = "cover"
    quality: int = Field(QUALITY, ge=20, le=100)
    format: Literal["origin", "webp", "avif"] | None = None


@dataclass(frozen=True)
class Transformation:
    """``format``: Pillow's name; None keeps the picture's own."""

    width: int | None
    height: int | None
    resize: str
    quality: int
    format: str | None

    @property
    def key(self) -> str:
        """Of the disk cache."""
        return f"{self.width}x{self.height} {self.resize} {self.quality} {self.format}"


def transformation_of(asked: dict[str, Any], request: Request) -> Transformation:
    """Without a format the best that the Accept header names explicitly, as upstream. Raises StorageError."""
    try:
        found = _Asked.model_validate(asked)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid_request(f"{first['loc'][0]}: {first['msg']}") from None
    name = None
    if found.format in {"webp", "avif"}:
        name = found.format.upper()
    elif found.format is None and "image/webp" in request.headers.get("accept", ""):
        name = "WEBP"
    # As upstream: 0 counts as absent, and a side that is too large as the largest.
    width, height = (min(side, MAX_SIDE) or None for side in (found.width, found.height))
    return Transformation(width, height, found.resize, found.quality, name)
