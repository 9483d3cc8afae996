"""JWKS cache: the project's public signing keys for ES256 and RS256, as Supabase Auth publishes them.

Key rotation: an unknown key id has the keys fetched at once, and known ones are refreshed in the background
(stale-while-revalidate), so that a revoked key is noticed. While Auth is down the cached keys stay valid.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from jose import jwk
from jose.backends.base import Key
from jose.exceptions import JOSEError

from functions._shared.errors import Unavailable

log = logging.getLogger(__name__)

TTL_S = 600.0
"""Time to live of the cache: Auth's own Cache-Control max-age."""
STALE_S = 2 * TTL_S
"""Age above which a request waits for the refresh: stale keys would admit a revoked key once more."""
FETCH_INTERVAL_S = 30.0
"""Rate limit of fetches: made-up key ids must not become requests to Auth."""
ANSWER_S = 5.0
MAX_BYTES = 256 * 1024
ALGORITHMS = {"EC": ("ES256", ("x", "y")), "RSA": ("RS256", ("n", "e"))}
"""Key type → the one algorithm it may be used with (algorithm confusion), and its parameters."""


@dataclass(frozen=True)
class SigningKey:
    """Equality is by id and public parameters; ``verifier`` checks signatures."""

    key_id: str
    algorithm: str
    parts: tuple[str, ...]
    verifier: Key = field(compare=False, repr=False)


class SigningKeys:
    """Keys by id: ``given`` by the settings, and those published at ``url``; None: no others."""

    def __init__(self, http: httpx.AsyncClient, url: str | None, given: Mapping[str, Any]) -> None:
        self._http = http
        self._url = url
        self._given = _by_id(given)
        self._fetched: Mapping[str, SigningKey] | None = None
        self._fetched_at = self._fetch_began = float("-inf")
        self._fetch_succeeded = True
        """Whether the last fetch succeeded."""
        self._fetching = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> SigningKey | None:
        """The key, fetched if it is unknown. Raises Unavailable for an unknown key while Auth does not answer."""
        if key := self._given.get(key_id):
            return key
        if self._url is None:
            return None
        if key := (self._fetched or {}).get(key_id):
            return key if await self.is_current(key) else self._fetched_now(key_id)
        await self._refresh()
        found = self._fetched_now(key_id)
        if found is None and not self._fetch_succeeded:
            raise Unavailable("The signing keys cannot be fetched at the moment, please try again")
        return found

    async def is_current(self, key: SigningKey) -> bool:
        """Whether a key found earlier has not been revoked; a stale cache is refreshed in the background."""
        if self._given.get(key.key_id) is key:
            return True
        now = time.monotonic()
        if now - self._fetched_at > TTL_S and self._url is not None:
            if now - self._fetch_began > STALE_S:
                await self._refresh()
            elif self._may_fetch() and (self._background is None or self._background.done()):
                self._background = asyncio.create_task(self._refresh())
        return self._fetched_now(key.key_id) is key

    async def close(self) -> None:
        if self._background:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    def _fetched_now(self, key_id: str) -> SigningKey | None:
        return (self._fetched or {}).get(key_id)

    def _may_fetch(self) -> bool:
        return time.monotonic() - self._fetch_began > FETCH_INTERVAL_S

    async def _refresh(self) -> None:
        if self._may_fetch() or self._fetching.locked():
            async with self._fetching:  # single flight: concurrent requests share one fetch
                if self._may_fetch() and self._url is not None:
                    await self._fetch(self._url)

    async def _fetch(self, url: str) -> None:
        """Replace the cache by the keys at ``url``; on any error the cached keys stay."""
        self._fetch_began = time.monotonic()
        self._fetch_succeeded = False
        try:
            old, new = self._fetched or {}, _by_id(await self._jwks(url))
            # An unchanged key stays the same object: ``is_current`` compares by identity.
            self._fetched = {
                key_id: old[key_id] if old.get(key_id) == key else key
                for key_id, key in new.items()
            }
            self._fetched_at = self._fetch_began
            self._fetch_succeeded = True
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            log.warning("signing keys not fetched (%s)", type(error).__name__)

    async def _jwks(self, url: str) -> Any:
        asked = self._http.stream(
            "GET", url, timeout=ANSWER_S, headers={"Accept-Encoding": "identity"}
        )
        body = bytearray()
        async with asked as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("too large")
        return json.loads(body)


def _by_id(jwks: Any) -> dict[str, SigningKey]:
    """The usable public keys, others left out. Raises ValueError for a document that is no JWKS."""
    listed = jwks.get("keys", []) if isinstance(jwks, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWKS")
    keys = [_signing_key(one) for one in listed if isinstance(one, Mapping)]
    return {key.key_id: key for key in keys if key}


def _signing_key(one: Mapping[str, Any]) -> SigningKey | None:
    """None for anything but a public signing key of a supported type; the document is untrusted."""
    key_id, key_type = one.get("kid"), one.get("kty")
    if not isinstance(key_id, str) or not isinstance(key_type, str) or key_type not in ALGORITHMS:
        return None
    algorithm, names = ALGORITHMS[key_type]
    parts = tuple(one.get(name) for name in names)
    if (
        one.get("use", "sig") != "sig"
        or one.get("alg", algorithm) != algorithm
        or (key_type == "EC" and one.get("crv") != "P-256")
        or not all(
            isinstance(part, str) for part in parts
        )  # jose would read a number n as n zero bytes
    ):
        return None
    public = {"kty": key_type, "crv": "P-256", **dict(zip(names, parts, strict=True))}
    try:
        verifier = jwk.construct(public, algorithm)
    except (JOSEError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        log.warning("a signing key is not usable")
        return None
    return SigningKey(key_id, algorithm, tuple(map(str, parts)), verifier)
