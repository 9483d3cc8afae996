"""A granted session as clients get it: access token, refresh token, user."""

import time
from typing import Any
from uuid import UUID

from starlette.requests import Request

from functions._platform.auth.context import auth_of, client_of
from functions._platform.auth.errors import AuthError
from functions._platform.auth.store.sessions import Granted, start_session
from functions._platform.auth.store.users import Connection
from functions._platform.auth.users import user_body


async def grant_session(
    request: Request, connection: Connection, user_id: UUID, method: str
) -> dict[str, Any]:
    """Start a session of a user who has authenticated by ``method`` (password, otp, …): the body of the response.

    Raises AuthError user_not_found where the user has been deleted meanwhile.
    """
    granted = await start_session(connection, user_id, method, client_of(request))
    if granted is None:
        raise AuthError(404, "user_not_found", "User not found")
    return session_body(request, granted)


def session_body(request: Request, granted: Granted) -> dict[str, Any]:
    now = int(time.time())
    token, expires_at = auth_of(request).access_tokens.issue(granted.user, granted.session, now)
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": expires_at - now,
        "expires_at": expires_at,
        "refresh_token": granted.refresh_token,
        "user": user_body(granted.user),
    }
