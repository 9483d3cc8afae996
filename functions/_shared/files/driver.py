"""The driver protocol: immutable blobs, each named by an object's version (a UUID), never by its key.

Named by version, an overwrite never touches the bytes of the committed row, a move is an UPDATE of one row, and no key
of a client becomes a path (path traversal).
"""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol
from uuid import UUID

CHUNK_BYTES = 256 * 1024


class Missing(Exception):
    """There is no blob of this version."""


class Driver(Protocol):
    """Each method raises OSError where the storage behind cannot be used."""

    async def keep(self, staged: Path, version: UUID) -> None:
        """Make a complete local file the blob of ``version``, durably; ``staged`` is gone afterwards."""
        ...

    async def read(self, version: UUID, start: int, end: int) -> AsyncIterator[bytes | memoryview]:
        """The bytes from ``start`` up to ``end`` (exclusive), in chunks. Raises Missing before the first chunk."""
        ...

    async def copy(self, version: UUID, to: UUID) -> None:
        """A second blob of the same bytes. Raises Missing."""
        ...

    async def has(self, version: UUID) -> bool: ...

    async def remove(self, versions: Iterable[UUID]) -> None:
        """Idempotent: a version without a blob is no error."""
        ...

    def every(self) -> AsyncIterator[tuple[UUID, float]]:
        """Every blob's version and the time it was made, in seconds since 1970."""
        ...
