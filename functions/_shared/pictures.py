"""A delivered picture → Storage: fetched, told from its bytes, uploaded. Used by the queue and by generate-image."""

import asyncio
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from storage3.exceptions import StorageApiError

from functions._shared.errors import GenerationFailed
from functions._shared.fetch import fetch_output
from functions._shared.resources import Resources

CONTENT_TYPES = {
    "webp": "image/webp",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "svg": "image/svg+xml",
}
# By their classes: Pillow would look through all its plugins while the first picture waits.
RASTERS = {
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
}
_SVG = re.compile(rb"^\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """``format`` is webp, png, jpeg or svg; sizes are pixels, None where the file (an SVG) names none."""

    data: bytes
    format: str
    width: int | None
    height: int | None


def inspect(data: bytes) -> Picture:
    """Tell format and size from the bytes, never from an address or a header. Raises GenerationFailed."""
    if _SVG.match(data.removeprefix(b"\xef\xbb\xbf")):
        return Picture(data, "svg", None, None)
    try:
        with Image.open(io.BytesIO(data), formats=tuple(RASTERS)) as image:
            image.load()  # a truncated file opens well and fails here
            return Picture(data, str(image.format).lower(), *image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise GenerationFailed("the file is not a whole webp, png, jpeg or svg picture") from None


async def fetch_and_store(
    resources: Resources,
    output_urls: Sequence[str],
    *,
    user_id: UUID,
    name: str,
    width: int | None,
    height: int | None,
) -> list[dict[str, Any]]:
    """Store the pictures at ``<user_id>/<name>.<format>``, ``<name>-2.<format>`` …; the fields of their images rows.

    One after the other, so that one file is in memory. ``width`` and ``height`` stand in where a file names none.
    Raises GenerationFailed.
    """
    images = []
    for number, output_url in enumerate(output_urls, start=1):
        picture = await asyncio.to_thread(inspect, await fetch_output(resources, output_url))
        filename = (
            f"{name}.{picture.format}" if number == 1 else f"{name}-{number}.{picture.format}"
        )
        path = f"{user_id}/{filename}"
        images.append(
            {
                "user_id": str(user_id),
                "filename": filename,
                "storage_path": path,
                "public_url": await upload(resources, path, picture),
                "file_size": len(picture.data),
                "width": picture.width or width,
                "height": picture.height or height,
                "format": picture.format,
            }
        )
    return images


async def upload(resources: Resources, path: str, picture: Picture) -> str:
    """Put the picture into the bucket, over an older one if need be; returns its public URL."""
    bucket = resources.settings.storage_bucket
    try:
        await resources.supabase.storage.from_(bucket).upload(
            path,
            io.BufferedReader(
                io.BytesIO(picture.data)
            ),  # sent in pieces, so that no second copy is made
            {
                "content-type": CONTENT_TYPES[picture.format],
                "cache-control": "3600",
                "upsert": "true",
            },
        )
    except StorageApiError as error:
        refused = str(error.status) in {"400", "401", "403", "413", "415"}
        raise GenerationFailed(
            f"Storage refused the image: {error.message}", retry=not refused
        ) from None
    except httpx.HTTPError as error:
        raise GenerationFailed(f"Storage is not reachable ({type(error).__name__})") from None
    # Not the client's own get_public_url: its base is supabase_url, which clients may not be able to reach.
    return (
        f"{resources.settings.public_base}/storage/v1/object/public/{quote(bucket)}/{quote(path)}"
    )
