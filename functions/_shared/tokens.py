"""A JWT → who holds it. Which algorithm a key is for is fixed here, never by the token.

HS256         the project's secret, also where the header names a key id
ES256, RS256  a public key of the project (``signing_keys.py``), EC or RSA as the algorithm wants it
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from jose import jwt
from jose.exceptions import JOSEError
from pydantic import SecretStr

from functions._shared.errors import Unauthorized
from functions._shared.signing_keys import SigningKeys

MAX_CHARACTERS = 8192
LEEWAY_S = 30
MAX_KNOWN = 10_000
UNEXPIRING_S = 3600
"""How long a token without an expiry is believed before it is looked at again."""
KEY_TYPES = {"ES256": "EC", "RS256": "RSA"}
FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5c", "x5u", "crit"})
"""They bring a key along, or change what the signature means."""
AUDIENCE = "authenticated"


@dataclass(frozen=True)
class Caller:
    """``role`` is anon, authenticated or service_role; ``user_id`` is set for authenticated only."""

    role: str
    user_id: UUID | None = None


class Tokens:
    """Verifies them, and remembers those that were, until they expire."""

    def __init__(self, secret: SecretStr, keys: SigningKeys) -> None:
        self._secret = secret
        self._keys = keys
        self._known: dict[bytes, tuple[Caller, float]] = {}
        """By digest: a client sends its own again and again."""

    def known(self, token: str) -> Caller | None:
        """Whose token it is, if it was verified before and has not expired."""
        caller, expires_at = self._known.get(_digest(token), (None, 0.0))
        return caller if time.time() <= expires_at + LEEWAY_S else None

    async def verify(self, token: str) -> Caller:
        """Whose token it is. Raises Unauthorized, Unavailable."""
        if len(token) > MAX_CHARACTERS:
            raise Unauthorized("Invalid JWT format")
        algorithm, key, code = await self._key(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                options={"verify_aud": False, "leeway": LEEWAY_S},
            )
            caller = _caller(claims)
            expires_at = float(claims.get("exp", time.time() + UNEXPIRING_S))
        # What a token holds is its sender's choice: whatever it makes the library raise, it is not valid.
        except (JOSEError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise Unauthorized("Invalid JWT", code=code) from None
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[_digest(token)] = caller, expires_at
        return caller

    async def _key(self, token: str) -> tuple[str, str | Mapping[str, Any], str]:
        """The algorithm to verify with, its key, and the code of a refusal."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
        except (JOSEError, ValueError, TypeError, AttributeError, RecursionError):
            raise Unauthorized("Invalid JWT format") from None
        if FORBIDDEN_HEADERS & header.keys():
            raise Unauthorized("Invalid JWT format")
        if algorithm == "HS256":
            return algorithm, self._secret.get_secret_value(), "UNAUTHORIZED_LEGACY_JWT"
        if algorithm not in KEY_TYPES:
            raise Unauthorized(
                f"Unsupported JWT algorithm {str(algorithm)[:20]}",
                code="UNAUTHORIZED_UNSUPPORTED_TOKEN_ALGORITHM",
            )
        code = "UNAUTHORIZED_ASYMMETRIC_JWT"
        key = await self._keys.find(key_id) if isinstance(key_id, str) else None
        if (
            key is None
            or key["kty"] != KEY_TYPES[algorithm]
            or key.get("alg", algorithm) != algorithm
        ):
            raise Unauthorized("Invalid JWT", code=code)
        return algorithm, key, code


def _caller(claims: Mapping[str, Any]) -> Caller:
    """Raises ValueError, TypeError or AttributeError for claims that say nothing to us."""
    role = claims.get("role")
    if role in {"anon", "service_role"}:
        return Caller(role)
    audience = claims.get("aud", AUDIENCE)
    if role != "authenticated" or AUDIENCE not in (
        [audience] if isinstance(audience, str) else audience
    ):
        raise ValueError("another role or audience")
    return Caller(role, UUID(claims["sub"]))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
