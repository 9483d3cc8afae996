"""Where finished pictures are kept: one bucket, its uploads and its addresses. A second storage is a class beside
SupabaseStorage and a line in ``open_storage``.
"""

import io
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote

import httpx
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError
from supabase import AsyncClientOptions, acreate_client

from functions._shared.errors import FunctionError, GenerationFailed
from functions._shared.pictures.own_addresses import OwnAddresses
from functions._shared.settings import Settings

PERMANENT = frozenset({"400", "401", "403", "413", "415"})
"""Statuses of a refusal that the same upload would meet again."""
CACHE_S = 3600


class Storage(Protocol):
    """Paths are relative to the bucket: ``<user id>/<name>.<format>``."""

    async def upload(self, path: str, data: bytes, content_type: str) -> str:
        """Store an object, replacing an older one (upsert), so that it may be repeated; returns its public URL.

        Raises GenerationFailed.
        """
        ...

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove objects; absent ones are no error (idempotent). Raises GenerationFailed."""
        ...

    def public_url(self, path: str) -> str:
        """The address that clients read the object at, which need not be the one that we write to."""
        ...

    def own_address(self, url: httpx.URL) -> httpx.URL | None:
        """``url`` as it is requested, if it is an object's address here: exempt from SSRF protection. Else None.

        Raises InvalidRequest for an object that only a signed-in caller may read.
        """
        ...

    async def check(self) -> str:
        """The bucket's name, once it was found to exist and to be public. Raises FunctionError, httpx.HTTPError."""
        ...


class SupabaseStorage:
    """Supabase Storage, or our own service with the same API.

    ``public_base``: the base of its public URLs; ``inner_base``: the base that it is written to.
    """

    def __init__(
        self, client: AsyncStorageClient, bucket: str, public_base: str, inner_base: str
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._public = f"{public_base}/storage/v1/object/public/"
        self._addresses = OwnAddresses([public_base, inner_base])

    async def upload(self, path: str, data: bytes, content_type: str) -> str:
        try:
            await self._client.from_(self._bucket).upload(
                path,
                io.BufferedReader(io.BytesIO(data)),  # streamed: bytes would be copied once more
                {"content-type": content_type, "cache-control": str(CACHE_S), "upsert": "true"},
            )
        except StorageApiError as error:
            raise GenerationFailed(
                f"Storage refused the image: {error.message}",
                retry=str(error.status) not in PERMANENT,
            ) from None
        except httpx.HTTPError as error:
            raise GenerationFailed(f"Storage is not reachable ({type(error).__name__})") from None
        return self.public_url(path)

    async def remove(self, paths: Sequence[str]) -> None:
        try:
            await self._client.from_(self._bucket).remove([*paths])
        except StorageApiError as error:
            raise GenerationFailed(f"Storage refused the removal: {error.message}") from None
        except httpx.HTTPError as error:
            raise GenerationFailed(f"Storage is not reachable ({type(error).__name__})") from None

    def public_url(self, path: str) -> str:
        # Not storage3's get_public_url: its base is SUPABASE_URL, which clients may be unable to reach.
        return f"{self._public}{quote(self._bucket)}/{quote(path)}"

    def own_address(self, url: httpx.URL) -> httpx.URL | None:
        return self._addresses.find(url)

    async def check(self) -> str:
        try:
            bucket = await self._client.get_bucket(self._bucket)
        except StorageApiError as error:
            raise FunctionError(error.message) from None
        if not bucket.public:
            raise FunctionError(
                f"bucket {self._bucket} is not public: clients could not see the pictures"
            )
        return f"bucket {self._bucket}"


async def open_storage(settings: Settings, http: httpx.AsyncClient) -> Storage:
    """The storage that the settings name; ``http`` is its own connection pool."""
    inner_base = str(settings.supabase_url).rstrip("/")
    supabase = await acreate_client(
        inner_base,
        settings.supabase_service_role_key.get_secret_value(),
        AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http),
    )
    return SupabaseStorage(
        supabase.storage, settings.storage_bucket, settings.public_base, inner_base
    )
