"""Format and size of a delivered picture from its bytes: never from its address or Content-Type, and without decoding
(decompression bombs). A foreign format is converted to one that browsers show.
"""

import asyncio
from dataclasses import dataclass

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.decoder import can_decode, convert
from functions._shared.pictures.formats import CONTENT_TYPES, CONVERTED, format_of
from functions._shared.pictures.header import Broken, Header, Truncated
from functions._shared.pictures.headers import read_header

STORED = "webp, png, jpeg, gif and svg pictures are stored"
MOST_BITS = 16


@dataclass(frozen=True)
class Picture:
    """``format`` is a key of CONTENT_TYPES; sizes are pixels as shown, None for an SVG."""

    data: bytes
    format: str
    width: int | None
    height: int | None


async def as_stored(data: bytes, most_pixels: int) -> Picture:
    """The picture in ``data``, byte for byte or converted: losslessly where its format is.

    Raises GenerationFailed, to be retried only where the transfer may have been cut, or no picture has come.
    """
    found = await asyncio.to_thread(inspect, data)
    if isinstance(found, Picture):
        return found
    if not can_decode(found.format):
        raise _permanent(f"{found.format} is not supported: {STORED}")
    if found.pixels > most_pixels:
        raise _permanent(
            f"the picture has {found.pixels / 1e6:.4g} megapixels, at most"
            f" {most_pixels / 1e6:.4g} are converted from {found.format}"
        )
    if found.bits > MOST_BITS:
        raise _permanent(f"{found.format} of more than {MOST_BITS} bits is not supported: {STORED}")
    try:
        new, _ = await convert(data, found, "output", most_pixels)
    except Broken as error:
        raise _permanent(f"the {found.format} picture is broken: {error}") from None
    picture = await asyncio.to_thread(inspect, new)
    assert isinstance(picture, Picture)
    return picture


def inspect(data: bytes) -> Picture | Header:
    """The picture in ``data``; the header of one that is to be converted. Raises as ``as_stored`` does."""
    picture_format = format_of(data)
    if picture_format == "svg":
        return Picture(data, "svg", None, None)
    if not picture_format:
        raise GenerationFailed("the file is no picture")
    if picture_format not in CONTENT_TYPES and picture_format not in CONVERTED:
        raise _permanent(f"{picture_format} is not supported: {STORED}")
    try:
        header = read_header(data, picture_format)
    except Truncated:
        raise GenerationFailed(
            f"the {picture_format} picture is not whole: it ends early"
        ) from None
    except Broken as error:
        raise _permanent(f"the {picture_format} picture is broken: {error}") from None
    if picture_format in CONVERTED:
        return header
    return Picture(data, picture_format, *header.shown)


def _permanent(text: str) -> GenerationFailed:
    return GenerationFailed(text, retry=False)
