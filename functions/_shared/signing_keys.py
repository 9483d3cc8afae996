"""The project's public signing keys (JWKS), as Supabase Auth publishes them for ES256 and RS256."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx

from functions._shared.errors import Unavailable

log = logging.getLogger(__name__)

Key = Mapping[str, Any]
"""One JWK."""

FRESH_S = 600.0
"""As long as Auth itself lets caches keep them."""
ASK_AGAIN_S = 30.0
"""At most this often, whatever key ids requests make up, and while Auth does not answer."""
ANSWER_S = 5.0
MAX_BYTES = 256 * 1024


class SigningKeys:
    """By key id. ``given`` are keys of the settings; ``url`` None: there are no others."""

    def __init__(self, http: httpx.AsyncClient, url: str | None, given: Mapping[str, Any]) -> None:
        self._http = http
        self._url = url
        self._given = _by_id(given)
        self._fetched: Mapping[str, Key] | None = None
        self._fetched_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def find(self, key_id: str) -> Key | None:
        """The key, asked for if need be. Raises Unavailable while Auth has never answered."""
        if key := self._given.get(key_id):
            return key
        if self._url is None:
            return None
        if self._is_stale(key_id):
            async with self._asking:  # one asks, the others wait for its answer
                if self._is_stale(key_id):
                    await self._fetch(self._url)
        if self._fetched is None:
            raise Unavailable("The signing keys cannot be fetched at the moment, please try again")
        return self._fetched.get(key_id)

    def _is_stale(self, key_id: str) -> bool:
        now = time.monotonic()
        wanted = (
            self._fetched is None or key_id not in self._fetched or now - self._fetched_at > FRESH_S
        )
        return wanted and now - self._asked_at > ASK_AGAIN_S

    async def _fetch(self, url: str) -> None:
        """Replace the keys by those of ``url``; they stay where it does not answer with any."""
        self._asked_at = time.monotonic()
        try:
            response = await self._http.get(url, timeout=ANSWER_S)
            response.raise_for_status()
            if len(response.content) > MAX_BYTES:
                raise ValueError("too large")
            self._fetched = _by_id(response.json())
            self._fetched_at = self._asked_at
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            log.warning("signing keys not fetched (%s)", type(error).__name__)


def _by_id(jwks: Any) -> dict[str, Key]:
    """The public keys to verify with. Raises ValueError for what is no JWKS."""
    keys = jwks.get("keys", []) if isinstance(jwks, Mapping) else None
    if not isinstance(keys, list):
        raise ValueError("not a JWKS")
    return {
        key["kid"]: key
        for key in keys
        if isinstance(key, Mapping)
        and isinstance(key.get("kid"), str)
        and key.get("use", "sig") == "sig"
        and key.get("kty") in {"EC", "RSA"}
    }
