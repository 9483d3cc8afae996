"""Format and size of a delivered picture from its bytes: never from its address or Content-Type, and without decoding
(decompression bombs).
"""

from dataclasses import dataclass

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.formats import CONTENT_TYPES, format_of
from functions._shared.pictures.headers import Broken, read_header


@dataclass(frozen=True)
class Picture:
    """``format`` is webp, png, jpeg or svg; sizes are pixels as shown, None for an SVG."""

    data: bytes
    format: str
    width: int | None
    height: int | None


def inspect(data: bytes) -> Picture:
    """The picture in ``data``. Raises GenerationFailed, to be retried unless the format is known and not supported: a
    truncated transfer looks like a broken file.
    """
    picture_format = format_of(data)
    if picture_format == "svg":
        return Picture(data, "svg", None, None)
    if picture_format and picture_format not in CONTENT_TYPES:
        raise GenerationFailed(
            f"{picture_format} is not supported: webp, png, jpeg and svg pictures are stored",
            retry=False,
        )
    try:
        if not picture_format:
            raise Broken("it is no picture")
        return Picture(data, picture_format, *read_header(data, picture_format).shown)
    except Broken:
        raise GenerationFailed("the file is not a whole webp, png, jpeg or svg picture") from None
