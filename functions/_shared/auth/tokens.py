"""JWT verification: a token → its claims → its caller. Each key has one algorithm, fixed here (algorithm confusion).

HS256         the project's secret, also where the header names a key id; refused where there is no secret
ES256, RS256  a public key of the project (``signing_keys.py``), of the type that the algorithm needs: EC or RSA

Algorithm confusion: a token that names HS256 and is "signed" with a public key as its secret would pass a verifier that
takes the algorithm from the token's header.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from jose import jwk, jws
from jose.backends.base import Key
from jose.exceptions import JOSEError
from pydantic import SecretStr

from functions._shared.auth.signing_keys import SigningKey, SigningKeys
from functions._shared.errors import Unauthorized

MAX_CHARACTERS = 32 * 1024
"""Of a token: Auth puts the whole of a user's metadata into it. Half of what the headers may have together."""
LEEWAY_S = 30
"""Clock skew allowed in exp and nbf."""
MAX_VERIFIED = MAX_REFUSED = 10_000
"""Entries of the cache of verified tokens, and of the negative cache of refused ones."""
REFUSED_TTL_S = 600.0
"""Time to live in the negative cache: a key that was replaced under the same id is tried again after that."""
UNEXPIRING_TTL_S = 3600.0
"""Time to live in the cache of a token without exp; it is verified again after that."""
MAX_NUMERIC_DATE = 2.0**53
"""The largest NumericDate: above 2^53 a float no longer holds whole seconds."""
MAX_SUBJECT = 255
"""Characters of sub, by OpenID Connect Core."""
ALGORITHM = re.compile(r"[A-Za-z0-9+-]{1,20}")
FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5c", "x5u", "crit"})
"""Headers that bring a key of the sender's own (RFC 7515, section 4.1), or change what is signed (crit)."""
LEGACY, ASYMMETRIC = "UNAUTHORIZED_LEGACY_JWT", "UNAUTHORIZED_ASYMMETRIC_JWT"

Claims = Mapping[str, Any]
V = TypeVar("V")


class OutsideValidity(Unauthorized):
    """A valid signature outside its validity period (exp, nbf): no failed attempt, as it cannot be a guess."""


@dataclass(frozen=True)
class Caller:
    """``role`` is anon, service_role, or a user's, with a ``user_id``: authenticated or one of JWT_ROLES."""

    role: str
    user_id: UUID | None = None


@dataclass(frozen=True)
class Rules:
    """Which users' tokens the functions accept. ``text_subjects``: also where sub is no UUID (third-party auth)."""

    audiences: frozenset[str]
    roles: frozenset[str]
    text_subjects: bool

    def caller(self, claims: Claims) -> Caller:
        """The caller by a verified token's claims. Raises Unauthorized."""
        return _caller(within_validity(claims), self)


@dataclass(frozen=True)
class _Verified:
    """A token with a valid signature. ``key`` None: the secret, which cannot be revoked while the process runs."""

    claims: Claims
    key: SigningKey | None
    until: float


@dataclass(frozen=True)
class _Refused:
    message: str
    code: str
    until: float


class Tokens:
    """Verifies signatures, with a cache of verified tokens and a negative cache of refused ones.

    The claims are the caller's to judge, each time: time passes, and each service has rules of its own.
    """

    def __init__(self, secret: SecretStr | None, keys: SigningKeys) -> None:
        self._secret = jwk.construct(secret.get_secret_value(), "HS256") if secret else None
        self._keys = keys
        # Keyed by SHA-256 digest, so that no token stays in memory. Clients repeat their token, valid or not.
        self._verified: dict[bytes, _Verified] = {}
        self._refused: dict[bytes, _Refused] = {}

    async def cached(self, token: str) -> Claims | None:
        """The claims from the cache: verified before, and the key not revoked (key rotation)."""
        digest = _digest(token)
        known = self._verified.get(digest)
        if known is None or time.time() > known.until:
            return None
        if known.key and not await self._keys.is_current(known.key):
            self._verified.pop(digest, None)
            return None
        return known.claims

    async def verify(self, token: str) -> Claims:
        """The token's claims. Raises Unauthorized, Unavailable. A refused token is verified once."""
        digest = _digest(token)
        refused_before = self._refused.get(digest)
        if refused_before and time.monotonic() < refused_before.until:
            raise Unauthorized(refused_before.message, code=refused_before.code)
        algorithm, key_id = _header(token)
        key, verifier, code = await self._key(algorithm, key_id)
        try:
            claims = _claims(token, verifier, algorithm, code)
        except Unauthorized as refusal:
            until = time.monotonic() + REFUSED_TTL_S
            _put(self._refused, digest, _Refused(str(refusal), refusal.code, until), MAX_REFUSED)
            raise
        _put(self._verified, digest, _Verified(claims, key, _until(claims)), MAX_VERIFIED)
        return claims

    async def _key(self, algorithm: str, key_id: object) -> tuple[SigningKey | None, Key, str]:
        """The key to verify with (None for the secret), its verifier, and the error code of an invalid signature."""
        if algorithm == "HS256" and self._secret:
            return None, self._secret, LEGACY
        if algorithm not in {"ES256", "RS256"}:
            raise Unauthorized(
                f"Unsupported JWT algorithm {algorithm}",
                code="UNAUTHORIZED_UNSUPPORTED_TOKEN_ALGORITHM",
            )
        key = await self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None or key.algorithm != algorithm:
            raise Unauthorized("Invalid JWT", code=ASYMMETRIC)
        return key, key.verifier, ASYMMETRIC


def _header(token: str) -> tuple[str, object]:
    """``alg`` and ``kid``, unverified: untrusted input, down to the types."""
    if len(token) > MAX_CHARACTERS:
        raise Unauthorized("Invalid JWT format")
    try:
        header = jws.get_unverified_header(token)
    except (JOSEError, ValueError, RecursionError):
        raise Unauthorized("Invalid JWT format") from None
    algorithm = header.get("alg")
    # The refusal quotes it: a lone surrogate could not be encoded.
    named = isinstance(algorithm, str) and ALGORITHM.fullmatch(algorithm)
    if not named or FORBIDDEN_HEADERS & header.keys():
        raise Unauthorized("Invalid JWT format")
    return str(algorithm), header.get("kid")


def _claims(token: str, verifier: Key, algorithm: str, code: str) -> Claims:
    """The claims, once the signature is verified. Raises Unauthorized, also where they are no JSON object."""
    try:
        payload = jws.verify(token, verifier, [algorithm])
    except JOSEError:
        raise Unauthorized("Invalid JWT", code=code) from None
    try:
        claims = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, Mapping):
        raise _refusal("its claims are no JSON object", "CLAIMS")
    return claims


def _until(claims: Claims) -> float:
    """Until when a verified token stays cached: beyond exp, as clients repeat expired tokens as well."""
    now = time.time()
    expires_at = claims.get("exp")
    if not _is_time(expires_at):
        return now + UNEXPIRING_TTL_S
    return max(float(expires_at or 0), now) + REFUSED_TTL_S


def within_validity(claims: Claims) -> Claims:
    """``claims``, where now is within their validity period (exp, nbf). Raises Unauthorized, OutsideValidity."""
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_time(claims[name]):
            raise _refusal(f"{name} is no time", "CLAIMS")
    if claims.get("exp", MAX_NUMERIC_DATE) < time.time() - LEEWAY_S:
        raise OutsideValidity("JWT expired", code="UNAUTHORIZED_JWT_EXPIRED")
    if claims.get("nbf", 0) > time.time() + LEEWAY_S:
        raise OutsideValidity("JWT not yet valid", code="UNAUTHORIZED_JWT_NOT_YET_VALID")
    return claims


def _is_time(value: object) -> bool:
    # Not isinstance: a bool is an int. JSON's 1e400 is infinity, and an integer may have any number of digits.
    return type(value) in {int, float} and 0 <= value < MAX_NUMERIC_DATE  # type: ignore[operator]


def _caller(claims: Claims, rules: Rules) -> Caller:
    role = claims.get("role")
    if role in ("anon", "service_role"):
        return Caller(role)
    if not isinstance(role, str) or role not in {"authenticated", *rules.roles}:
        raise _refusal("its role is none of those allowed here", "ROLE")
    audience = claims.get("aud", None if "aud" in claims else [*rules.audiences])
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not any(
        isinstance(one, str) and one in rules.audiences for one in audiences
    ):
        raise _refusal("its audience is none of those allowed here", "AUDIENCE")
    return Caller(role, _user_id(claims, rules))


def _user_id(claims: Claims, rules: Rules) -> UUID:
    """The UUID in ``sub``; for any other text a UUIDv5 of issuer and subject, stable for the same user."""
    subject, issuer = claims.get("sub"), claims.get("iss", "")
    if isinstance(subject, str) and isinstance(issuer, str) and 0 < len(subject) <= MAX_SUBJECT:
        try:
            return _uuid(subject)
        except ValueError:
            if rules.text_subjects and (issuer + subject).isprintable():
                return uuid5(uuid5(NAMESPACE_URL, issuer), subject)
    raise _refusal("its subject is no user's id", "SUBJECT")


# Cached: clients repeat their token, and parsing costs as much as finding it.
@lru_cache(maxsize=MAX_VERIFIED)
def _uuid(text: str) -> UUID:
    return UUID(text)


def _refusal(why: str, code: str) -> Unauthorized:
    return Unauthorized(f"Invalid JWT: {why}", code=f"UNAUTHORIZED_JWT_{code}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _put(store: dict[bytes, V], digest: bytes, value: V, most: int) -> None:
    store.pop(digest, None)
    while len(store) >= most:
        del store[next(iter(store))]
    store[digest] = value
