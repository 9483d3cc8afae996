"""A prediction's outputs → Storage: downloaded, inspected, uploaded. For download-image and generate-image.

Partial success: each output is stored by itself. An output that cannot be stored costs none of the others, which are
paid for: its error is kept beside them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.fetch import Fetcher
from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.pictures.inspect import as_stored
from functions._shared.pictures.storage import Storage

log = logging.getLogger(__name__)


@dataclass
class Stored:
    """What has become of a prediction's outputs. ``images``: place in the output, from 1, → columns of its images row.

    ``errors``: place → why it is not stored, as of the last round; each says whether another round may help.
    ``begun``: paths whose upload was begun; one that was cut off may have left an object all the same.
    """

    images: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: dict[int, GenerationFailed] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The images rows' columns in the order of the output."""
        return [self.images[place] for place in sorted(self.images)]

    @property
    def paths(self) -> list[str]:
        """Everything that may lie in Storage."""
        return sorted(self.begun | {image["storage_path"] for image in self.rows})

    @property
    def leftovers(self) -> list[str]:
        """What may lie in Storage although no row will name it."""
        return sorted(self.begun - {image["storage_path"] for image in self.rows})

    @property
    def retriable(self) -> GenerationFailed | None:
        """The first error that another round may mend."""
        return next((error for error in self._errors if error.retry), None)

    @property
    def notes(self) -> list[str]:
        """A sentence for each output that is not stored, for the generation's adjustments."""
        return [
            f"image {place} of {len(self.images) + len(self.errors)}: not stored: {self.errors[place]}"
            for place in sorted(self.errors)
        ]

    def require_any(self) -> None:
        """Raise GenerationFailed where nothing is stored: an error that may be mended rather than a permanent one."""
        if not self.images:
            raise self.retriable or self._errors[0]

    @property
    def _errors(self) -> list[GenerationFailed]:
        return [self.errors[place] for place in sorted(self.errors)]


async def store_outputs(
    stored: Stored,
    fetcher: Fetcher,
    storage: Storage,
    output_urls: Sequence[str],
    *,
    user_id: UUID,
    name: str,
    fallback: Mapping[str, int | None],
) -> None:
    """Store the outputs that ``stored`` has not, at ``<user_id>/<name>.<format>``, ``<name>-2.<format>`` …

    Sequential, so that one file at a time is in memory. ``fallback`` has width and height, in pixels, for a file that
    names none. A failed output is recorded in ``stored``, as is each success before the next download begins.
    """
    stored.errors.clear()
    for place, output_url in enumerate(output_urls, start=1):
        if place in stored.images:
            continue
        stem = name if place == 1 else f"{name}-{place}"
        try:
            stored.images[place] = await _store(
                fetcher, storage, output_url, f"{user_id}", stem, fallback, stored.begun
            )
        except GenerationFailed as error:
            stored.errors[place] = error
        except Exception:
            # A bug that one file brings to light; the next round fails alike, or finds another state.
            log.exception("output %d of %s: bug", place, name)
            stored.errors[place] = GenerationFailed("Internal error", error_class="bug")


async def _store(
    fetcher: Fetcher,
    storage: Storage,
    output_url: str,
    folder: str,
    stem: str,
    fallback: Mapping[str, int | None],
    begun: set[str],
) -> dict[str, Any]:
    """Store one output; returns the columns of its images row. Raises GenerationFailed."""
    picture = await as_stored(await fetcher.output(output_url), fetcher.most_pixels)
    filename = f"{stem}.{picture.format}"
    path = f"{folder}/{filename}"
    begun.add(path)
    return {
        "user_id": folder,
        "filename": filename,
        "storage_path": path,
        "public_url": await storage.upload(path, picture.data, CONTENT_TYPES[picture.format]),
        "file_size": len(picture.data),
        "width": picture.width or fallback["width"],
        "height": picture.height or fallback["height"],
        "format": picture.format,
    }


async def remove_stored(storage: Storage, paths: Sequence[str]) -> None:
    """Remove objects that no row will name, best effort."""
    try:
        if paths:
            await storage.remove(paths)
    except GenerationFailed as error:
        log.warning("objects without a row are left in Storage: %s: %s", error, ", ".join(paths))
