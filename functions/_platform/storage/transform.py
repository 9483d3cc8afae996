"""Pixels: one picture decoded, resized and encoded; decompression bombs are refused by their header."""

import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError, features

from functions._platform.storage.errors import StorageError, invalid_request
from functions._platform.storage.transformations import FORMATS, MEDIA_TYPES, Transformation

LANCZOS = Image.Resampling.LANCZOS


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
            return _encoded(_resized(image, asked), name, asked.quality), MEDIA_TYPES[name]
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        message = "The source image is invalid or unsupported for rendering"
        raise invalid_request(message) from None


def _resized(image: Image.Image, asked: Transformation) -> Image.Image:
    """Never larger than the source but for ``fill``, as upstream; a side that is absent follows the other."""
    box = (asked.width or image.width, asked.height or image.height)
    image.draft("RGB", box)  # JPEG: decoded at a fraction of its size
    turned = ImageOps.exif_transpose(image)
    width, height = turned.size
    if asked.width is None and asked.height is None:
        return turned
    if asked.width is None or asked.height is None:
        scale = min(1.0, asked.width / width if asked.width else (asked.height or height) / height)
        return turned.resize((max(1, round(width * scale)), max(1, round(height * scale))), LANCZOS)
    if asked.resize == "fill":
        return turned.resize((asked.width, asked.height), LANCZOS)
    if asked.resize == "contain":
        turned.thumbnail((asked.width, asked.height), LANCZOS)
        return turned
    box = (min(asked.width, width), min(asked.height, height))
    return ImageOps.fit(turned, box, LANCZOS)


def _encoded(image: Image.Image, name: str, quality: int) -> bytes:
    if name == "AVIF" and not features.check("avif"):
        raise invalid_request("format: avif is not available here")
    if name == "JPEG" and image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
    elif image.mode not in {"RGB", "RGBA", "L", "LA"}:
        image = image.convert("RGBA")
    out = io.BytesIO()
    # No metadata is passed on: EXIF may hold the place of a photograph.
    image.save(out, name, **({} if name == "PNG" else {"quality": quality}))
    return out.getvalue()
