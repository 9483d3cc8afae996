"""A prediction's outputs → Storage: downloaded, inspected, uploaded. For download-image and generate-image."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from functions._shared.pictures.fetch import Fetcher
from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.pictures.inspect import as_stored
from functions._shared.pictures.storage import Storage


async def fetch_and_store(
    fetcher: Fetcher,
    storage: Storage,
    output_urls: Sequence[str],
    *,
    user_id: UUID,
    name: str,
    width: int | None,
    height: int | None,
) -> list[dict[str, Any]]:
    """Store the pictures at ``<user_id>/<name>.<format>``, ``<name>-2.<format>`` …; returns their images rows' columns.

    Sequential, so that one file at a time is in memory. ``width`` and ``height``, in pixels, stand in for a file that
    names none. Raises GenerationFailed.
    """
    images = []
    for number, output_url in enumerate(output_urls, start=1):
        picture = await as_stored(await fetcher.output(output_url), fetcher.most_pixels)
        suffix = "" if number == 1 else f"-{number}"
        filename = f"{name}{suffix}.{picture.format}"
        path = f"{user_id}/{filename}"
        images.append(
            {
                "user_id": str(user_id),
                "filename": filename,
                "storage_path": path,
                "public_url": await storage.upload(
                    path, picture.data, CONTENT_TYPES[picture.format]
                ),
                "file_size": len(picture.data),
                "width": picture.width or width,
                "height": picture.height or height,
                "format": picture.format,
            }
        )
    return images
