"""A delivered picture → Storage: fetched, told from its bytes, uploaded. Used by the queue and by generate-image."""

import asyncio
import io
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from PIL import Image
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
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG", "JPEG")) as image:
            image.load()  # a truncated file opens well and fails here
            return Picture(data, str(image.format).lower(), *image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise GenerationFailed("the file is not a whole webp, png, jpeg or svg picture") from None


async def fetch_and_store(
    resources: Resources,
    output_url: str,
    *,
    user_id: UUID,
    name: str,
    width: int | None,
    height: int | None,
) -> dict[str, Any]:
    """Store the picture at ``<user_id>/<name>.<format>``; returns the fields of its images row.

    ``width`` and ``height`` stand in where the file names none. Raises GenerationFailed.
    """
    picture = await asyncio.to_thread(inspect, await fetch_output(resources, output_url))
    filename = f"{name}.{picture.format}"
    path = f"{user_id}/{filename}"
    return {
        "user_id": str(user_id),
        "filename": filename,
        "storage_path": path,
        "public_url": await upload(resources, path, picture),
        "file_size": len(picture.data),
        "width": picture.width or width,
        "height": picture.height or height,
        "format": picture.format,
    }


async def upload(resources: Resources, path: str, picture: Picture) -> str:
    """Put the picture into the bucket, over an older one if need be; returns its public URL."""
    bucket = resources.settings.storage_bucket
    try:
        await resources.supabase.storage.from_(bucket).upload(
            path,
            picture.data,
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
