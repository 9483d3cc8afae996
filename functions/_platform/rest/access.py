"""Authentication of /rest/v1: a request's credentials → the role and the claims that its transaction runs under."""

import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from functions._platform.rest import errors
from functions._platform.rest.errors import RestError
from functions._shared.auth.access import Access, access_with, is_assumable, is_bearer, token_of
from functions._shared.auth.tokens import LEEWAY_S
from functions._shared.errors import FunctionError, Unauthorized
from functions._shared.resources import resources_of

MAX_INT64 = 2**63 - 1
FORMAT = "UNAUTHORIZED_INVALID_JWT_FORMAT"
ALGORITHM = "UNAUTHORIZED_UNSUPPORTED_TOKEN_ALGORITHM"
CLAIMS = "UNAUTHORIZED_JWT_CLAIMS"
API_KEY = "UNAUTHORIZED_INVALID_API_KEY"
SIGNATURE = "None of the keys was able to decode the JWT"


async def access_of(request: Request) -> Access:
    """Raises RestError: PGRST301 to PGRST303, 429 once the address is throttled, 503 while keys cannot be fetched."""
    resources = resources_of(request)
    anonymous = resources.settings.pgrst_db_anon_role
    has_bearer = is_bearer(request)

    def of_claims(claims: Mapping[str, Any]) -> Access:
        _check(claims)
        # The anon key as apikey alone is no token: behind Supabase's gateway PostgREST does not see it.
        is_key = not has_bearer and claims.get("role") == "anon"
        return _access({} if is_key else claims, anonymous)

    def of_key(role: str) -> Access:
        return _access({} if role == "anon" else {"role": role}, anonymous)

    token = token_of(request)
    if token is None:
        return _access({}, anonymous)
    if not token:
        raise errors.invalid_token("Empty JWT is sent in Authorization header")
    try:
        return await resources.auth.accept(request, token, of_claims, of_key)
    except Unauthorized as refusal:
        raise _refused(token, refusal) from None
    except FunctionError as error:
        raise errors.in_rest_form(error) from None


def _access(claims: Mapping[str, Any], anonymous: str | None) -> Access:
    """The access of verified claims; without a role it is the anonymous one. Raises PGRST302 where there is none."""
    role = _role(claims["role"]) if "role" in claims else anonymous
    if role is None:
        raise errors.anonymous_disabled()
    return access_with(claims, role)


def _role(claim: object) -> str:
    """The name of a role, whatever JSON it is. Raises RestError for one that must not be sent."""
    role = claim if isinstance(claim, str) else json.dumps(claim)
    if not is_assumable(role):
        raise errors.unknown_role(role)
    return role


def _check(claims: Mapping[str, Any]) -> None:
    """exp, nbf, iat and aud, in this order; null counts as absent. Raises PGRST303."""
    now = int(time.time())
    expires_at = _seconds(claims, "exp")
    if expires_at is not None and expires_at < now - LEEWAY_S:
        raise errors.invalid_claims("JWT expired")
    not_before = _seconds(claims, "nbf")
    if not_before is not None and not_before > now + LEEWAY_S:
        raise errors.invalid_claims("JWT not yet valid")
    issued_at = _seconds(claims, "iat")
    if issued_at is not None and issued_at > now + LEEWAY_S:
        raise errors.invalid_claims("JWT issued at future")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience or ""]
    if not all(isinstance(one, str) for one in audiences):
        raise errors.invalid_claims("The JWT 'aud' claim must be a string or an array of strings")


def _seconds(claims: Mapping[str, Any], name: str) -> int | None:
    """None: absent. What is no whole number of an int64 counts as 0, as upstream converts it."""
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in {int, float}:
        raise errors.invalid_claims(f"The JWT '{name}' claim must be a number")
    whole = type(value) is int or value.is_integer()
    return int(value) if whole and abs(value) <= MAX_INT64 else 0


def _refused(token: str, refusal: Unauthorized) -> RestError:
    """The refusal of a signature, as upstream words it."""
    parts = token.count(".") + 1
    if refusal.code == API_KEY:
        return errors.invalid_token(str(refusal))
    if parts != 3:
        return errors.invalid_token(f"Expected 3 parts in JWT; got {parts}")
    if refusal.code == FORMAT:
        return errors.invalid_token("JWT cryptographic operation failed")
    if refusal.code == ALGORITHM and str(refusal).lower().endswith(" none"):
        return errors.invalid_token(
            "Wrong or unsupported encoding algorithm",
            "JWT is unsecured but expected 'alg' was not 'none'",
        )
    if refusal.code == CLAIMS:
        return errors.invalid_claims("Parsing claims failed")
    return errors.invalid_token("No suitable key or wrong key type", SIGNATURE)
