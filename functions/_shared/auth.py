"""Who is calling: a token or key → Caller, and what each function asks of them."""

import hmac
from collections.abc import Iterable
from uuid import UUID

from pydantic import SecretStr
from starlette.requests import Request

from functions._shared.errors import Forbidden, Unauthorized
from functions._shared.failed_attempts import FailedAttempts
from functions._shared.settings import Settings
from functions._shared.signing_keys import SigningKeys
from functions._shared.tokens import Caller, Tokens

DEMO_USER = UUID("00000000-0000-4000-8000-000000000000")
"""Who the anon key is where ALLOW_ANON is set."""


class Authenticator:
    """Checks tokens, and the project's opaque keys."""

    def __init__(self, settings: Settings, signing_keys: SigningKeys) -> None:
        self._tokens = Tokens(settings.supabase_jwt_secret, signing_keys)
        self._failed = FailedAttempts(settings.auth_failures_per_minute)
        self._allow_anon = settings.allow_anon
        self._no_verify = settings.no_verify_jwt
        self._keys = [
            *_as_role(settings.supabase_publishable_keys.values(), "anon"),
            *_as_role(settings.supabase_secret_keys.values(), "service_role"),
        ]

    async def user(self, request: Request) -> UUID:
        """The signed-in user's id, or DEMO_USER for the anon key where allowed. Raises Unauthorized."""
        caller = await self.caller(request)
        if caller.user_id is not None:
            return caller.user_id
        if caller.role == "anon" and self._allow_anon:
            return DEMO_USER
        raise Unauthorized("Unauthorized")

    async def service(self, request: Request, function: str) -> None:
        """Let the service role pass, and anybody where NO_VERIFY_JWT names ``function``. Raises otherwise."""
        if function in self._no_verify:
            return
        caller = await self.caller(request)
        if caller.role == "service_role" or (caller.role == "anon" and self._allow_anon):
            return
        raise Forbidden(f"{function} is for the service role only")

    async def caller(self, request: Request) -> Caller:
        """Who holds the request's credentials, wherever clients put them.

        Raises Unauthorized, TooManyRequests after many of those, Unavailable while a signing key cannot be had.
        """
        token = _credentials(request)
        known = None if token.startswith("sb_") else self._tokens.known(token)
        if known:
            return known
        address = request.client.host if request.client else ""
        self._failed.check(address)
        try:
            if token.startswith("sb_"):
                return self._by_key(token)
            return await self._tokens.verify(token)
        except Unauthorized:
            self._failed.note(address)
            raise

    def _by_key(self, key: str) -> Caller:
        # Every key is compared, so that the time taken tells nothing about which one came near.
        roles = [role for known, role in self._keys if hmac.compare_digest(known, key.encode())]
        if not roles:
            raise Unauthorized("Invalid API key")
        return Caller(roles[0])


def _credentials(request: Request) -> str:
    """Authorization unless it is a bare new-style key, else apikey: as Supabase's own gateway picks them."""
    authorization = request.headers.get("authorization", "")
    apikey = request.headers.get("apikey", "")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if authorization and (scheme.lower() != "bearer" or not token):
        raise Unauthorized("Invalid JWT format")
    if token and not (token.startswith("sb_") and apikey):
        return token
    if apikey:
        return apikey
    raise Unauthorized("No authorization header", code="UNAUTHORIZED_NO_AUTH_HEADER")


def _as_role(keys: Iterable[SecretStr], role: str) -> list[tuple[bytes, str]]:
    return [(key.get_secret_value().encode(), role) for key in keys]
