"""A delivered picture → Storage: fetched, told from its bytes, uploaded. Used by the queue and by generate-image."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from storage3.exceptions import StorageApiError

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.fetch import fetch_output
from functions._shared.pictures.formats import CONTENT_TYPES, format_of
from functions._shared.pictures.headers import Broken, read_header
from functions._shared.resources import Resources


@dataclass(frozen=True)
class Picture:
    """``format`` is webp, png, jpeg or svg; sizes are pixels as shown, None where the file (an SVG) names none."""

    data: bytes
    format: str
    width: int | None
    height: int | None


def inspect(data: bytes) -> Picture:
    """Tell format and size from the bytes, never from an address or a header; nothing is decoded, however large it is.

    Raises GenerationFailed, which is worth another attempt where the file may only have been cut.
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
