"""The rows of storage.objects and storage.buckets: every statement runs under the role of its transaction."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from functions._platform.storage.access import owner_uuid
from functions._platform.storage.errors import no_bucket, no_object
from functions._shared.auth.access import Access
from functions._shared.database.as_role import SET

Connection = AsyncConnection[DictRow]
OBJECT = """
select id, bucket_id, name, version, metadata, user_metadata, owner_id, created_at, updated_at
from storage.objects where bucket_id = %s and name = %s
"""
IN_BUCKET = """
select buckets.public, objects.id, bucket_id, objects.name, version, metadata, user_metadata, objects.owner_id,
    objects.created_at, objects.updated_at
from storage.buckets left join storage.objects on bucket_id = buckets.id and objects.name = %s
where buckets.id = %s
"""
LOCK = "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 7))"
INSERT = """
insert into storage.objects (id, bucket_id, name, owner, owner_id, metadata, user_metadata, version)
values (%(id)s, %(bucket)s, %(key)s, %(owner)s, %(owner_id)s, %(metadata)s, %(user_metadata)s, %(version)s)
"""
UPSERT = f"""
{INSERT} on conflict (bucket_id, name) do update set
    owner = excluded.owner, owner_id = excluded.owner_id, metadata = excluded.metadata,
    user_metadata = excluded.user_metadata, version = excluded.version, updated_at = now(), last_accessed_at = now()
"""


@dataclass(frozen=True)
class NewObject:
    """A row to be written. ``metadata``: as ``Staged.metadata`` makes it."""

    id: UUID
    bucket: str
    key: str
    owner_id: str | None
    version: UUID
    metadata: dict[str, Any]
    user_metadata: dict[str, Any] | None = None


async def assume(connection: Connection, access: Access) -> None:
    """From here on the transaction runs under another role and its claims."""
    await connection.execute(SET, (access.role, access.claims_json))


async def find_bucket(connection: Connection, bucket: str) -> DictRow:
    """Raises StorageError: Bucket not found."""
    found = await connection.execute("select * from storage.buckets where id = %s", (bucket,))
    row = await found.fetchone()
    if row is None:
        raise no_bucket()
    return row


async def find_in_bucket(connection: Connection, bucket: str, key: str) -> DictRow:
    """The object's row with the bucket's ``public``; without an object its ``id`` is None. Raises StorageError."""
    row = await (await connection.execute(IN_BUCKET, (key, bucket))).fetchone()
    if row is None:
        raise no_bucket()
    return row


async def find_object(connection: Connection, bucket: str, key: str) -> DictRow:
    """Raises StorageError: Object not found, also for one that row-level security hides."""
    row = await (await connection.execute(OBJECT, (bucket, key))).fetchone()
    if row is None:
        raise no_object()
    return row


async def locked_object(connection: Connection, bucket: str, key: str) -> DictRow | None:
    """The row, locked against concurrent writes until the transaction ends.

    An advisory lock on the key comes first: a row that is not there yet cannot be locked, and of two first uploads the
    later one must find the former's blob to remove.
    """
    await connection.execute(LOCK, (f"{bucket}/{key}",))
    found = await connection.execute(f"{OBJECT} for update", (bucket, key))
    return await found.fetchone()


async def has_object(connection: Connection, bucket: str, key: str) -> bool:
    return await (await connection.execute(OBJECT, (bucket, key))).fetchone() is not None


async def put_object(connection: Connection, new: NewObject, *, upsert: bool) -> None:
    """No RETURNING: that would demand a SELECT policy of a caller who may only insert. Raises psycopg.Error."""
    await connection.execute(
        UPSERT if upsert else INSERT,
        {
            "id": new.id,
            "bucket": new.bucket,
            "key": new.key,
            "owner": owner_uuid(new.owner_id),
            "owner_id": new.owner_id,
            "metadata": Jsonb(new.metadata),
            "user_metadata": Jsonb(new.user_metadata) if new.user_metadata else None,
            "version": str(new.version),
        },
    )


def version_of(row: DictRow) -> UUID:
    """The blob of a row. Raises StorageError: Object not found, for a row whose file never was here."""
    try:
        return UUID(row["version"] or "")
    except ValueError:
        raise no_object() from None


def versions_of(rows: list[DictRow]) -> list[UUID]:
    """Those of ``rows`` that have a blob."""
    found = []
    for row in rows:
        try:
            found.append(UUID(row["version"] or ""))
        except ValueError:
            continue
    return found
