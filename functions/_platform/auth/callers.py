"""Who calls: a signed-in user with its session, or the service role; refusals with GoTrue's codes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.requests import Request

from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import AuthError
from functions._platform.auth.store.sessions import Session, find_user_and_session
from functions._platform.auth.users import User
from functions._shared.auth.tokens import within_validity
from functions._shared.errors import Unauthorized

BEARER = re.compile(r"bearer\s+(\S+)", re.IGNORECASE)
WHY: Mapping[str, str] = {
    "UNAUTHORIZED_JWT_EXPIRED": "token has invalid claims: token is expired",
    "UNAUTHORIZED_JWT_NOT_YET_VALID": "token has invalid claims: token is not valid yet",
    "UNAUTHORIZED_LEGACY_JWT": "token signature is invalid: signature is invalid",
    "UNAUTHORIZED_ASYMMETRIC_JWT": "token signature is invalid: signature is invalid",
    "UNAUTHORIZED_INVALID_JWT_FORMAT": "token is malformed: token contains an invalid number of segments",
}
"""Our error codes → GoTrue's words."""


@dataclass(frozen=True)
class SignedIn:
    """``session`` None: the token names none."""

    user: User
    session: Session | None


async def signed_in(request: Request) -> SignedIn:
    """The user of the request's token. Raises AuthError: 401 without one, 403 for a bad one or an ended session."""
    claims = await _claims(request)
    user_id = _uuid(
        claims.get("sub"),
        "invalid claim: missing sub claim",
        "invalid claim: sub claim must be a UUID",
    )
    session_id = None
    if claims.get("session_id"):
        why = "invalid claim: session_id claim must be a UUID"
        session_id = _uuid(claims["session_id"], why, why)
    async with auth_of(request).pool.connection() as connection:
        user, session = await find_user_and_session(connection, user_id, session_id)
    if user is None or user.deleted_at is not None:
        raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
    if session_id and session is None:
        raise AuthError(
            403, "session_not_found", "Session from session_id claim in JWT does not exist"
        )
    if user.is_banned:
        raise AuthError(403, "user_banned", "User is banned")
    return SignedIn(user, session)


async def admin_only(request: Request) -> None:
    """Accept the service role, by its JWT or a secret key. Raises AuthError: 401 without a token, else 403."""
    headers = request.headers
    if "authorization" not in headers and "apikey" not in headers:
        raise _no_token()
    try:
        caller = await auth_of(request).authenticator.caller(request)
    except Unauthorized as error:
        raise _bad_jwt(error) from None
    if caller.role != "service_role":
        raise AuthError(403, "not_admin", "User not allowed")


async def _claims(request: Request) -> Mapping[str, Any]:
    found = BEARER.fullmatch(request.headers.get("authorization", "").strip())
    if not found:
        raise _no_token()
    try:
        return await auth_of(request).authenticator.accept(
            request, found[1], within_validity, lambda role: {"role": role}
        )
    except Unauthorized as error:
        raise _bad_jwt(error) from None


def _uuid(value: object, missing: str, malformed: str) -> UUID:
    if not isinstance(value, str) or not value:
        raise AuthError(403, "bad_jwt", missing)
    try:
        return UUID(value)
    except ValueError:
        raise AuthError(403, "bad_jwt", malformed) from None


def _no_token() -> AuthError:
    return AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")


def _bad_jwt(error: Unauthorized) -> AuthError:
    why = WHY.get(error.code, str(error))
    message = f"invalid JWT: unable to parse or verify signature, {why}"
    return AuthError(403, "bad_jwt", message)
