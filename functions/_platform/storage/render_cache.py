"""Disk cache of transformed pictures, bounded in bytes: the least recently used are evicted (LRU)."""

import hashlib
import os
from pathlib import Path
from uuid import UUID, uuid4

from functions._platform.storage.transformations import Transformation

FILL = 0.8
"""An eviction goes down to this part of the limit, so that not every write is one."""


class RenderCache:
    """Keyed by the object's version: a new upload never shows old pixels. Its methods block."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max = max_bytes
        self._bytes: int | None = None

    def find(self, version: UUID, asked: Transformation) -> bytes | None:
        file = self._file(version, asked)
        try:
            data = file.read_bytes()
            os.utime(file)
        except FileNotFoundError:
            return None
        return data

    def put(self, version: UUID, asked: Transformation, data: bytes) -> None:
        file = self._file(version, asked)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{uuid4()}")
        try:
            part.write_bytes(data)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        self._bytes = None if self._bytes is None else self._bytes + len(data)
        if self._bytes is None or self._bytes > self._max:
            self._evict()

    def _evict(self) -> None:
        files = []
        for entry in os.scandir(self._folder):
            try:
                files.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
            except FileNotFoundError:
                continue  # another process has evicted it
        total = sum(size for _, size, _ in files)
        if total > self._max:
            for _, size, path in sorted(files):
                path.unlink(missing_ok=True)
                total -= size
                if total <= FILL * self._max:
                    break
        self._bytes = total

    def _file(self, version: UUID, asked: Transformation) -> Path:
        digest = hashlib.sha256(f"{version} {asked.key}".encode()).hexdigest()
        return self._folder / digest
