"""Who is calling: a token or key → Caller, and what each function asks of them."""

import hashlib
import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from jose import jwt
from jose.exceptions import JOSEError
from pydantic import SecretStr
from starlette.requests import Request

from functions._shared.errors import Forbidden, Unauthorized
from functions._shared.settings import Settings

DEMO_USER = UUID("00000000-0000-4000-8000-000000000000")
"""Who the anon key is where ALLOW_ANON is set."""

MAX_TOKEN_CHARACTERS = 8192
LEEWAY_S = 30
MAX_KNOWN = 10_000
UNEXPIRING_S = 3600
"""How long a token without an expiry is believed before it is looked at again."""


@dataclass(frozen=True)
class Caller:
    """``role`` is anon, authenticated or service_role; ``user_id`` is set for authenticated only."""

    role: str
    user_id: UUID | None = None


class Authenticator:
    """Checks tokens against the project's secret and its opaque keys."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.supabase_jwt_secret
        self._allow_anon = settings.allow_anon
        self._no_verify = settings.no_verify_jwt
        self._known: dict[bytes, tuple[Caller, float]] = {}
        """Tokens that were verified, by digest: a client sends its own again and again."""
        self._keys = [
            *_as_role(settings.supabase_publishable_keys.values(), "anon"),
            *_as_role(settings.supabase_secret_keys.values(), "service_role"),
        ]

    def user(self, request: Request) -> UUID:
        """The signed-in user's id, or DEMO_USER for the anon key where allowed. Raises Unauthorized."""
        caller = self.caller(request)
        if caller.user_id is not None:
            return caller.user_id
        if caller.role == "anon" and self._allow_anon:
            return DEMO_USER
        raise Unauthorized("Unauthorized")

    def service(self, request: Request, function: str) -> None:
        """Let the service role pass, and anybody where NO_VERIFY_JWT names ``function``. Raises otherwise."""
        if function in self._no_verify:
            return
        caller = self.caller(request)
        if caller.role == "service_role" or (caller.role == "anon" and self._allow_anon):
            return
        raise Forbidden(f"{function} is for the service role only")

    def caller(self, request: Request) -> Caller:
        """Who holds the request's credentials, wherever clients put them. Raises Unauthorized."""
        token = _credentials(request)
        if token.startswith("sb_"):
            return self._by_key(token)
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthorized("Unauthorized")
        digest = hashlib.sha256(token.encode()).digest()
        caller, expires_at = self._known.get(digest, (None, 0.0))
        if caller is None or time.time() > expires_at + LEEWAY_S:
            caller, expires_at = self._verified(token)
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[digest] = caller, expires_at
        return caller

    def _verified(self, token: str) -> tuple[Caller, float]:
        """The caller, and until when that may be believed, in seconds since 1970."""
        try:
            claims = jwt.decode(
                token,
                self._secret.get_secret_value(),
                algorithms=["HS256"],  # never what the token's own header asks for
                options={"verify_aud": False, "leeway": LEEWAY_S},
            )
            role, subject = claims.get("role"), claims.get("sub")
            expires_at = float(claims.get("exp", time.time() + UNEXPIRING_S))
            if role == "authenticated":
                return Caller(role, UUID(subject)), expires_at
        except (JOSEError, ValueError, TypeError, AttributeError, RecursionError):
            raise Unauthorized("Unauthorized", code="UNAUTHORIZED_LEGACY_JWT") from None
        if role in {"anon", "service_role"}:
            return Caller(role), expires_at
        raise Unauthorized("Unauthorized", code="UNAUTHORIZED_LEGACY_JWT")

    def _by_key(self, key: str) -> Caller:
        # Every key is compared, so that the time taken tells nothing about which one came near.
        roles = [role for known, role in self._keys if hmac.compare_digest(known, key.encode())]
        if not roles:
            raise Unauthorized("Unauthorized")
        return Caller(roles[0])


def _credentials(request: Request) -> str:
    """Authorization unless it is a bare new-style key, else apikey: as Supabase's own gateway picks them."""
    authorization = request.headers.get("authorization", "")
    apikey = request.headers.get("apikey", "")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if authorization and (scheme.lower() != "bearer" or not token):
        raise Unauthorized("Unauthorized")
    if token and not (token.startswith("sb_") and apikey):
        return token
    if apikey:
        return apikey
    raise Unauthorized("No authorization header", code="UNAUTHORIZED_NO_AUTH_HEADER")


def _as_role(keys: Iterable[SecretStr], role: str) -> list[tuple[bytes, str]]:
    return [(key.get_secret_value().encode(), role) for key in keys]
