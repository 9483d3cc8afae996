"""Authentication of /realtime/v1: a token → the role and claims that its rows are looked for under, and until when."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import HTTPConnection, Request

from functions._shared.auth.access import is_assumable
from functions._shared.auth.authenticator import Authenticator
from functions._shared.errors import FunctionError, Unauthorized

FORMAT = frozenset({"UNAUTHORIZED_INVALID_JWT_FORMAT", "UNAUTHORIZED_INVALID_API_KEY"})


@dataclass(frozen=True)
class Access:
    """``claims_json``: for ``request.jwt.claims``; equal for equal claims. ``expires_at``: Unix time or infinity."""

    role: str
    claims_json: str
    expires_at: float


class Refused(Exception):
    """A token that is not accepted. ``code`` precedes the text in a join's reply; ``status`` is the handshake's."""

    def __init__(self, code: str, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


async def access_of(auth: Authenticator, connection: HTTPConnection, token: str) -> Access:
    """Raises Refused, also for an expired token."""
    try:
        # Of the request only the client's address is read, which a websocket has as well.
        return await auth.accept(cast(Request, connection), token, _of_claims, _of_key)
    except Unauthorized as refusal:
        if refusal.code in FORMAT:
            raise Refused("MalformedJWT", "The token provided is not a valid JWT") from None
        raise Refused("JwtSignatureError", "Failed to validate JWT signature") from None
    except FunctionError as error:
        raise Refused("UnknownErrorOnChannel", str(error), error.status) from None


def _of_key(role: str) -> Access:
    return Access(role, json.dumps({"role": role}), float("inf"))


def _of_claims(claims: Mapping[str, Any]) -> Access:
    role, expires_at = claims.get("role"), claims.get("exp")
    named = isinstance(role, str) and role != "" and is_assumable(role)
    if not named or type(expires_at) not in {int, float}:
        raise Refused("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    access = Access(
        str(role), json.dumps(claims, sort_keys=True, separators=(",", ":")), float(expires_at or 0)
    )
    check_expiry(access)
    return access


def check_expiry(access: Access) -> None:
    """Raises Refused once the token has expired."""
    late_s = time.time() - access.expires_at
    if late_s >= 0:
        raise Refused("InvalidJWTToken", f"Token has expired {int(late_s)} seconds ago")
