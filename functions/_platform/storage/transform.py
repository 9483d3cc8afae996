"""Pixels: one picture decoded, resized and encoded; decompression bombs are refused by their header."""

import io
import logging
import math
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageOps, features

from functions._platform.storage.errors import StorageError, invalid_request
from functions._platform.storage.transformations import FORMATS, MEDIA_TYPES, Transformation

log = logging.getLogger(__name__)

LANCZOS = Image.Resampling.LANCZOS
SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""


def transformed(source: Path, asked: Transformation, max_pixels: int) -> tuple[bytes, str]:
    """The encoded picture and its content type. Raises StorageError. Takes a thread some 100 ms."""
    try:
        # The formats are named: Pillow's other decoders are attack surface.
        with Image.open(source, formats=list(FORMATS.values())) as image:
            if image.width * image.height > max_pixels:  # before anything is decoded
                raise StorageError(
                    422, "InvalidRequest", "The source image resolution is too large to process"
                )
            name = asked.format or image.format or "PNG"
            profile = image.info.get("icc_profile") if image.mode in {"RGB", "RGBA"} else None
            return _encoded(_resized(image, asked), name, asked.quality, profile), MEDIA_TYPES[name]
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged files make decoders raise anything: IndexError, zlib.error
        log.debug("a source picture cannot be decoded: %s", type(error).__name__)
        message = "The source image is invalid or unsupported for rendering"
        raise invalid_request(message) from None


def _resized(image: Image.Image, asked: Transformation) -> Image.Image:
    """Never larger than the source but for ``fill``, as upstream; a side that is absent follows the other."""
    is_sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
    width, height = image.size
    scaled, cropped = _plan((height, width) if is_sideways else (width, height), asked)
    # JPEG: decoded at a fraction of its size, before the picture is turned.
    image.draft(None, (scaled[1], scaled[0]) if is_sideways else scaled)
    turned = _plain(ImageOps.exif_transpose(image))
    if cropped != scaled:
        return ImageOps.fit(turned, cropped, LANCZOS)
    return turned if turned.size == cropped else turned.resize(cropped, LANCZOS)


def _plan(size: tuple[int, int], asked: Transformation) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height that the source is scaled to, and that are cut out of that."""
    width, height = size
    if asked.width is None and asked.height is None:
        return size, size
    if asked.width and asked.height and asked.resize == "fill":
        return (asked.width, asked.height), (asked.width, asked.height)
    factors = [side / own for side, own in ((asked.width, width), (asked.height, height)) if side]
    is_cover = len(factors) == 2 and asked.resize == "cover"
    factor = min(1.0, max(factors) if is_cover else min(factors))
    scaled = (max(1, round(width * factor)), max(1, round(height * factor)))
    if not is_cover:
        return scaled, scaled
    cropped = (min(asked.width or width, width), min(asked.height or height, height))
    whole = (
        max(math.ceil(width * factor), cropped[0]),
        max(math.ceil(height * factor), cropped[1]),
    )
    return (cropped if whole == cropped else whole), cropped


def _plain(image: Image.Image) -> Image.Image:
    """8 bits per channel, in a mode that is resampled: Pillow takes the nearest pixel for palettes and bitmaps."""
    if image.mode.startswith(("I", "F")):  # 16 bits of grey
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"RGB", "RGBA", "L", "LA"} and "transparency" not in image.info:
        return image
    has_alpha = "transparency" in image.info or image.mode in {"PA", "RGBa", "La", "RGBA", "LA"}
    return image.convert("RGBA" if has_alpha else "RGB")


def _encoded(image: Image.Image, name: str, quality: int, profile: bytes | None) -> bytes:
    if name == "AVIF" and not features.check("avif"):
        raise invalid_request("format: avif is not available here")
    if name == "JPEG" and image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
    elif name != "PNG" and image.mode == "LA":
        image = image.convert("RGBA")
    # No metadata is passed on but the colour profile: EXIF and XMP may hold the place of a photograph.
    image.info.clear()
    options: dict[str, Any] = {} if name == "PNG" else {"quality": quality}
    if profile:
        options["icc_profile"] = profile
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()
