"""Where finished pictures are kept: one bucket, its uploads and its addresses. A second storage is a class beside
SupabaseStorage and a line in ``open_storage``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from functions._shared import tracing
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


class Refused(Exception):
    """Storage's answer to a request is an error: its message, and its own status, which may differ from HTTP's."""

    def __init__(self, response: httpx.Response) -> None:
        try:
            told = response.json()
            message, self.status = str(told["message"]), str(told["statusCode"])
        except (KeyError, TypeError, ValueError):
            message, self.status = f"HTTP {response.status_code}", str(response.status_code)
        super().__init__(message)


class SupabaseStorage:
    """Supabase Storage, or our own service with the same API: three of its calls, by HTTP.

    ``public_base``: the base of its public URLs; ``inner_base``: the base that it is written to. Not the supabase
    client: its package takes 60 ms to import, and it copies each picture into a multipart form.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        key: SecretStr,
        bucket: str,
        public_base: str,
        inner_base: str,
    ) -> None:
        self._http = http
        self._key = key
        self._bucket = bucket
        self._inner = f"{inner_base}/storage/v1"
        self._host = httpx.URL(inner_base).host
        self._public = f"{public_base}/storage/v1/object/public/"
        self._addresses = OwnAddresses([public_base, inner_base])

    async def upload(self, path: str, data: bytes, content_type: str) -> str:
        try:
            await self._send(
                "POST",
                f"/object/{quote(self._bucket)}/{quote(path)}",
                {
                    "Content-Type": content_type,
                    "Cache-Control": f"max-age={CACHE_S}",
                    "x-upsert": "true",
                },
                content=data,
            )
        except Refused as refused:
            raise GenerationFailed(
                f"Storage refused the image: {refused}", retry=refused.status not in PERMANENT
            ) from None
        except httpx.HTTPError as error:
            raise GenerationFailed(f"Storage is not reachable ({type(error).__name__})") from None
        return self.public_url(path)

    async def remove(self, paths: Sequence[str]) -> None:
        try:
            await self._send(
                "DELETE", f"/object/{quote(self._bucket)}", json={"prefixes": [*paths]}
            )
        except Refused as refused:
            raise GenerationFailed(f"Storage refused the removal: {refused}") from None
        except httpx.HTTPError as error:
            raise GenerationFailed(f"Storage is not reachable ({type(error).__name__})") from None

    def public_url(self, path: str) -> str:
        return f"{self._public}{quote(self._bucket)}/{quote(path)}"

    def own_address(self, url: httpx.URL) -> httpx.URL | None:
        return self._addresses.find(url)

    async def check(self) -> str:
        try:
            response = await self._send("GET", f"/bucket/{quote(self._bucket)}")
        except Refused as refused:
            raise FunctionError(str(refused)) from None
        if response.json().get("public") is not True:
            raise FunctionError(
                f"bucket {self._bucket} is not public: clients could not see the pictures"
            )
        return f"bucket {self._bucket}"

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        """Raises Refused, httpx.HTTPError."""
        key = self._key.get_secret_value()
        with tracing.storage_call(method, self._host):
            response = await self._http.request(
                method,
                f"{self._inner}{path}",
                headers={
                    "Authorization": f"Bearer {key}",
                    "apikey": key,
                    **(headers or {}),
                    **tracing.carried(),
                },
                **body,
            )
            tracing.response_status(response.status_code)
        if not response.is_success:
            raise Refused(response)
        return response


def open_storage(settings: Settings, http: httpx.AsyncClient) -> Storage:
    """The storage that the settings name; ``http`` is its own connection pool."""
    return SupabaseStorage(
        http,
        settings.supabase_service_role_key,
        settings.storage_bucket,
        settings.public_base,
        str(settings.supabase_url).rstrip("/"),
    )
