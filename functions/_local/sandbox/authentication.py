"""Bearer token authentication, with Replicate's 401 for a missing or wrong token."""

import hmac

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from functions._local.sandbox.problems import Problem


class TokenCheck(AuthenticationBackend):
    """Accept the schemes ``Bearer`` and ``Token``: older Replicate clients still send the latter."""

    def __init__(self, token: str) -> None:
        self.token = token.encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        scheme, _, presented = conn.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(presented.strip().encode(), self.token)
        if scheme.lower() not in ("bearer", "token") or not right:
            raise AuthenticationError
        return AuthCredentials(), SimpleUser("sandbox")


def on_authentication_error(_: HTTPConnection, __: AuthenticationError) -> Response:
    return unauthenticated()


def unauthenticated() -> Response:
    problem = Problem(401, "You did not pass a valid authentication token", "Unauthenticated")
    return JSONResponse(problem.body, status_code=problem.status)
