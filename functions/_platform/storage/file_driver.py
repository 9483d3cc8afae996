"""The file system driver: an object is the file ``<EDGE_DATA_DIR>/storage/<bucket>/<key>``.

The only module of the service that knows of files: another driver (S3) has the same methods.
"""

import asyncio
import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from starlette.responses import FileResponse, Response

from functions._platform.storage.errors import StorageError, invalid_key

MAX_KEY_BYTES = 1024
"""S3's limit; with any data folder it stays below PATH_MAX (4096)."""
MAX_NAME_BYTES = 200
"""Per segment of a key: below NAME_MAX of every file system (255)."""
KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
"""The characters of Supabase Storage: S3's safe ones, and those it handles specially. No percent sign, no backslash."""
INCOMING = ".incoming"
"""The folder of partial uploads, beside the bucket's and on the same file system; no address leads there."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_SUCH_PLACE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG})
"""The errors of a key that continues below a file, or ends at a folder."""


class FileDriver:
    """The objects of one bucket. Each method raises StorageError for a key that no object may have."""

    def __init__(self, data_dir: Path, bucket: str) -> None:
        self._root = data_dir.absolute() / "storage"
        self._bucket = bucket

    def check_key(self, key: str) -> None:
        self._file(key)

    def _file(self, key: str) -> Path:
        """The file of an object, whether there is one or not; never outside the bucket's folder (path traversal)."""
        segments = key.split("/")
        if (
            len(key) > MAX_KEY_BYTES
            or not KEY.fullmatch(key)
            or any(part in {"", ".", ".."} or len(part) > MAX_NAME_BYTES for part in segments)
        ):
            raise invalid_key(key)
        return self._root / self._bucket / key

    def check_free(self, key: str, *, upsert: bool) -> None:
        """Refuse a key that is a folder, or an existing object unless ``upsert``."""
        file = self._file(key)
        if file.is_dir():
            raise invalid_key(key)
        if file.exists() and not upsert:
            raise StorageError(409, "Duplicate", "The resource already exists")

    async def write(self, key: str, data: bytes) -> None:
        """Write an object atomically: readers see the old object or the new one, never a part. Raises OSError."""
        await asyncio.to_thread(_replace, self._file(key), data, self._root / INCOMING)

    def response(self, key: str, media_type: str, headers: Mapping[str, str]) -> Response:
        """An object with its length and ETag, in ranges where the client asks for them. 404 where there is none."""
        file = self._file(key)
        if not file.is_file():
            raise StorageError(404, "not_found", "Object not found")
        return FileResponse(file, media_type=media_type, headers=headers, stat_result=file.stat())


@contextmanager
def as_storage_errors(key: str) -> Iterator[None]:
    """Translate the OSErrors that a key or a full disk causes in an upload; all others stay, as faults of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageError(
                507, "InsufficientStorage", "There is no room for the object"
            ) from None
        if error.errno in NO_SUCH_PLACE:
            raise invalid_key(key) from None
        raise


def _replace(file: Path, data: bytes, incoming: Path) -> None:
    """Write to a temporary file in ``incoming`` and rename it (atomic); a failure leaves nothing. Raises OSError."""
    incoming.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=incoming, delete=False) as part:
        try:
            part.write(data)
            part.close()
            file.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part.name, file)
        finally:
            Path(part.name).unlink(missing_ok=True)
