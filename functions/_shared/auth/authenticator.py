"""Authentication and authorisation: a request's credentials → Caller, and which callers a function accepts."""

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from jose import jwt
from jose.exceptions import JOSEError
from starlette.requests import Request

from functions._shared.auth.signing_keys import SigningKeys
from functions._shared.auth.throttle import FailedAttempts
from functions._shared.auth.tokens import Caller, Claims, OutsideValidity, Rules, Tokens
from functions._shared.errors import Forbidden, Unauthorized
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

DEMO_USER = UUID("00000000-0000-4000-8000-000000000000")
"""The user id of the anon key where ALLOW_ANON is set."""
MIN_KEY_CHARACTERS = 32
"""Least characters of an opaque SUPABASE_SERVICE_ROLE_KEY or SUPABASE_ANON_KEY that callers may authenticate with: a
placeholder such as ``unused``, where Storage checks no key, must not open the functions."""


@dataclass(frozen=True)
class _Key:
    """A configured key. ``expires_at`` is a JWT's exp, infinity for an opaque key."""

    text: bytes
    role: str
    expires_at: float


class Authenticator:
    """Accepts JWTs (``Tokens``) and the project's configured API keys, old (JWT) and new (sb_…)."""

    def __init__(self, settings: Settings, signing_keys: SigningKeys) -> None:
        if settings.supabase_jwt_secret is None:
            log.info(
                "SUPABASE_JWT_SECRET is not set: tokens signed with a secret (HS256) are refused"
            )
        self._rules = Rules(settings.jwt_audiences, settings.jwt_roles, settings.jwt_text_subjects)
        self._tokens = Tokens(settings.supabase_jwt_secret, signing_keys)
        self._failed = FailedAttempts(settings.auth_failures_per_minute)
        self._allow_anon = settings.allow_anon
        self._no_verify = settings.no_verify_jwt
        self._keys = [
            _Key(key.encode(), role, _expiry(key))
            for role in ("anon", "service_role")
            for key in settings.keys_of(role)
            if key.startswith("sb_") or len(key) >= MIN_KEY_CHARACTERS
        ]

    async def user(self, request: Request) -> UUID:
        """The signed-in user's id, or DEMO_USER for the anon key where allowed. Raises Unauthorized."""
        caller = await self.caller(request)
        if caller.user_id is not None:
            return caller.user_id
        if caller.role == "anon" and self._allow_anon:
            return DEMO_USER
        raise Unauthorized("Unauthorized", code="UNAUTHORIZED_NO_USER")

    async def service(self, request: Request, function: str) -> None:
        """Accept the service role only, or any caller where NO_VERIFY_JWT names ``function``. Raises otherwise."""
        if function in self._no_verify:
            return
        caller = await self.caller(request)
        if caller.role == "service_role" or (caller.role == "anon" and self._allow_anon):
            return
        raise Forbidden(f"{function} is for the service role only")

    async def caller(self, request: Request) -> Caller:
        """The holder of the request's credentials, from any header that clients put them into. Raises as ``accept``."""
        return await self.accept(request, _credentials(request), self._rules.caller, Caller)

    async def accept(
        self,
        request: Request,
        token: str,
        of_claims: Callable[[Claims], T],
        of_role: Callable[[str], T],
    ) -> T:
        """What ``of_claims`` makes of a token with a valid signature, or ``of_role`` of a configured key's role.

        Raises Unauthorized, or TooManyRequests for it once the address is throttled; Unavailable while the signing keys
        cannot be fetched. Valid credentials are never throttled: cron, servers and this process's own uploads may share
        an address with an attacker.
        """
        claims = await self._tokens.cached(token)
        if claims is None and (role := self._role_of_key(token)):
            return of_role(role)
        try:
            if claims is None:
                if token.startswith("sb_"):
                    raise Unauthorized("Invalid API key", code="UNAUTHORIZED_INVALID_API_KEY")
                claims = await self._tokens.verify(token)
            return of_claims(claims)
        except OutsideValidity:
            raise
        except Unauthorized:
            self.note_failure(request)
            raise

    def note_failure(self, request: Request) -> None:
        """Count a credential that was refused elsewhere. Raises TooManyRequests once its address is throttled."""
        self._failed.note(request.client.host if request.client else "")

    def _role_of_key(self, token: str) -> str | None:
        # Constant time: every key is compared, so that timing tells nothing about any of them (timing attack).
        sent, now = token.encode(), time.time()
        equal = [key for key in self._keys if hmac.compare_digest(key.text, sent)]
        return next((key.role for key in equal if now < key.expires_at), None)


def _credentials(request: Request) -> str:
    """The Authorization header's, unless that is a new-style key (sb_…) beside an apikey: Supabase's precedence."""
    authorization = request.headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if authorization and (scheme.lower() != "bearer" or not token):
        raise Unauthorized("Invalid JWT format")
    if token and not token.startswith("sb_"):
        return token
    if credentials := request.headers.get("apikey") or token:
        return credentials
    raise Unauthorized("No authorization header", code="UNAUTHORIZED_NO_AUTH_HEADER")


def _expiry(key: str) -> float:
    """The exp of a configured key, unverified: settings are trusted."""
    try:
        expires_at = jwt.get_unverified_claims(key).get("exp")
    except JOSEError:
        return float("inf")
    return expires_at if isinstance(expires_at, int | float) else float("inf")
