"""Normalise a source picture for the models: JPEG, PNG or WebP, upright, 8 bits a channel, RGB or grey; refuse others.

An ordinary picture is sent byte for byte, not decoded. One of another format, rotated (EXIF), deep (16 bits), CMYK or
animated is decoded and encoded anew, in a child process.
"""

import asyncio
from dataclasses import dataclass

from functions._shared.errors import InvalidRequest
from functions._shared.pictures.decoder import can_decode, convert
from functions._shared.pictures.formats import CONTENT_TYPES, CONVERTED, format_of
from functions._shared.pictures.header import Broken, Header
from functions._shared.pictures.headers import read_header
from functions._shared.pictures.web_headers import MOST_SCANS

TAKEN = frozenset({"jpeg", "png", "webp"})
"""Formats that models read."""
SEND = "send JPEG, PNG or WebP"
MOST_BITS = 16
_EXTRAS = {"HEIC": "heic"}
"""Formats whose decoder is an extra of ours (pyproject.toml)."""


@dataclass(frozen=True)
class Source:
    """The file that is sent: ``format`` is jpeg, png or webp; ``note`` tells of frames left out, None of none."""

    data: bytes
    format: str
    note: str | None = None


async def normalised(data: bytes, most_pixels: int) -> Source:
    """Make ``data`` a picture that models read.

    Raises InvalidRequest for an unsupported picture, naming why; Broken; GenerationFailed.
    """
    header = await asyncio.to_thread(_checked, data, most_pixels)
    plain = header.orientation == 1 and header.bits <= 8 and not header.inks and header.frames == 1
    if header.format in TAKEN and plain:
        return Source(data, header.format)
    new, new_format = await convert(data, header, "source", most_pixels)
    note = f"source_image_url: sent the first of its {header.frames} frames"
    return Source(new, new_format, note if header.frames > 1 else None)


def _checked(data: bytes, most_pixels: int) -> Header:
    found = format_of(data)
    if not found:
        raise Broken("it is no picture")
    name = found.upper() if found in CONTENT_TYPES else found
    if found not in TAKEN | CONVERTED | {"gif"}:
        raise _unsupported(name)
    if not can_decode(found):
        extra = (
            f" by this server, which lacks the extra {_EXTRAS[found]}" if found in _EXTRAS else ""
        )
        raise InvalidRequest(f"source_image_url: {name} is not supported{extra}: {SEND}")
    header = read_header(data, found)
    if header.pixels > most_pixels:
        raise InvalidRequest(
            f"source_image_url: the picture has {header.pixels / 1e6:.4g} megapixels,"
            f" at most {most_pixels / 1e6:.4g} are taken"
        )
    if header.bits > MOST_BITS or (found == "jpeg" and header.bits != 8):
        raise _unsupported(f"a {name} of {header.bits} bits")
    if header.scans > MOST_SCANS:
        raise _unsupported(f"a JPEG of {header.scans} scans")
    return header


def _unsupported(name: str) -> InvalidRequest:
    return InvalidRequest(f"source_image_url: {name} is not supported: {SEND}")
