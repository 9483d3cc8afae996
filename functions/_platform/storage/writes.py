"""A complete file becomes an object: its bytes durable first, then its row, under the caller's role."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import DictRow

from functions._platform.storage.access import SERVICE, subject_of
from functions._platform.storage.context import Storage
from functions._platform.storage.errors import duplicate, invalid_mime_type, too_large
from functions._platform.storage.rows import (
    NewObject,
    assume,
    find_bucket,
    has_object,
    locked_object,
    put_object,
    versions_of,
)
from functions._platform.storage.staging import Staged
from functions._shared.auth.access import Access
from functions._shared.database.session import is_read_only


class RolledBack(Exception):
    """Ends a transaction that only asked whether a write would be allowed."""


@dataclass(frozen=True)
class Destination:
    """Where an object goes, and whose right counts. ``owner_id``: sub of the uploader."""

    bucket: str
    key: str
    access: Access
    upsert: bool
    owner_id: str | None

    @classmethod
    def of(cls, bucket: str, key: str, access: Access, *, upsert: bool) -> "Destination":
        return cls(bucket, key, access, upsert, subject_of(access))

    def row(self, metadata: dict[str, Any], user_metadata: dict[str, Any] | None) -> NewObject:
        return NewObject(
            uuid4(), self.bucket, self.key, self.owner_id, uuid4(), metadata, user_metadata
        )


async def admit(
    storage: Storage,
    to: Destination,
    mime_type: str | None,
    size: int | None,
    user_metadata: dict[str, Any] | None = None,
) -> int:
    """Refuse an upload before its body is read; returns the most bytes that it may have.

    The write is tried and rolled back: policies see the declared ``mime_type`` and ``size`` as metadata, as upstream's.
    The service role has no policies, so that a look for an existing object does, without a dead tuple; and one whether
    the server takes writes at all.
    Raises StorageError, and psycopg.Error as the write would.
    """
    most = 0
    try:
        async with storage.transaction(SERVICE) as connection:
            bucket = await find_bucket(connection, to.bucket)
            most = _check_limits(storage, bucket, mime_type, size)
            if to.access.role != SERVICE.role:
                await assume(connection, to.access)
                declared = {"mimetype": mime_type, "contentLength": size}
                told = {name: value for name, value in declared.items() if value is not None}
                await put_object(connection, to.row(told, user_metadata), upsert=to.upsert)
            elif is_read_only(connection):
                raise psycopg.errors.ReadOnlySqlTransaction("the server takes no writes")
            elif not to.upsert and await has_object(connection, to.bucket, to.key):
                raise duplicate()
            raise RolledBack
    except RolledBack:
        pass
    return most


def _check_limits(
    storage: Storage, bucket: DictRow, mime_type: str | None, size: int | None
) -> int:
    own = storage.settings.upload_file_size_limit
    most: int = min(own, bucket["file_size_limit"] or own)
    allowed = bucket["allowed_mime_types"]
    if allowed and mime_type is not None:
        plain = mime_type.partition(";")[0].strip().lower()
        kind = plain.partition("/")[0]
        if not {plain, f"{kind}/*", "*/*"} & {one.lower() for one in allowed}:
            raise invalid_mime_type(mime_type)
    if size is not None and size > most:
        raise too_large()
    return most


async def store(storage: Storage, to: Destination, file: Staged) -> UUID:
    """The object's id. Readers see the old object or the new one whole; a failure leaves the old one."""
    new = to.row(file.metadata, file.user_metadata)
    await storage.driver.keep(file.path, new.version)
    return await commit(storage, to, new)


async def commit(storage: Storage, to: Destination, new: NewObject) -> UUID:
    """Write the row of a blob that is kept; the blob is removed if the row is refused. Returns the object's id."""
    written = False
    try:
        async with storage.transaction(SERVICE) as connection:
            before = await locked_object(connection, to.bucket, to.key)
            await assume(connection, to.access)
            await put_object(connection, new, upsert=to.upsert)
            written = True
    except BaseException:
        # Outcome unknown: a connection lost during COMMIT may have committed. The janitor decides by the row.
        if not written:
            await storage.discard([new.version])
        raise
    if before is None:
        return new.id
    await storage.discard(versions_of([before]))
    object_id: UUID = before["id"]
    return object_id
