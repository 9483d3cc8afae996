"""A complete file becomes an object: its bytes durable first, then its row, under the caller's role."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from functions._platform.storage.access import SERVICE, subject_of
from functions._platform.storage.context import Storage
from functions._platform.storage.errors import invalid_mime_type
from functions._platform.storage.rows import (
    NewObject,
    find_bucket,
    locked_object,
    put_object,
    versions_of,
)
from functions._platform.storage.staging import Staged
from functions._shared.auth.access import Access
from functions._shared.database.as_role import SET


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


async def limits_of(storage: Storage, bucket: str) -> tuple[int, Callable[[str], None]]:
    """The bucket's largest object in bytes, and a check of content types. Raises StorageError: no such bucket."""
    async with storage.transaction(SERVICE) as connection:
        row = await find_bucket(connection, bucket)
    own = storage.settings.upload_file_size_limit
    allowed = row["allowed_mime_types"]

    def accept(mime_type: str) -> None:
        plain = mime_type.partition(";")[0].strip().lower()
        kind = plain.partition("/")[0]
        if allowed and not {plain, f"{kind}/*", "*/*"} & {one.lower() for one in allowed}:
            raise invalid_mime_type(mime_type)

    return min(own, row["file_size_limit"] or own), accept


async def check_allowed(storage: Storage, to: Destination) -> None:
    """Refuse before the body is read: the write is tried and rolled back. Raises psycopg.Error, as the write would."""
    try:
        async with storage.transaction(to.access) as connection:
            await put_object(connection, to.row({}, None), upsert=to.upsert)
            raise RolledBack
    except RolledBack:
        pass


async def store(storage: Storage, to: Destination, file: Staged) -> UUID:
    """The object's id. Readers see the old object or the new one whole; a failure leaves the old one."""
    new = to.row(file.metadata, file.user_metadata)
    await storage.driver.keep(file.path, new.version)
    return await commit(storage, to, new)


async def commit(storage: Storage, to: Destination, new: NewObject) -> UUID:
    """Write the row of a blob that is kept; the blob is removed if the row is refused. Returns the object's id."""
    try:
        async with storage.transaction(SERVICE) as connection:
            before = await locked_object(connection, to.bucket, to.key)
            await _as(connection, to.access)
            await put_object(connection, new, upsert=to.upsert)
    except BaseException:
        await storage.driver.remove([new.version])
        raise
    if before is None:
        return new.id
    await storage.driver.remove(versions_of([before]))
    object_id: UUID = before["id"]
    return object_id


async def _as(connection: AsyncConnection[DictRow], access: Access) -> None:
    await connection.execute(SET, (access.role, access.claims_json))
