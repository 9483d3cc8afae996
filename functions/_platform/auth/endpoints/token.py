"""POST /token: sign-in by password, and the refresh of a session."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import auth_of, client_of
from functions._platform.auth.endpoints.pkce_grant import by_code
from functions._platform.auth.endpoints.public_info import PROVIDERS
from functions._platform.auth.errors import AuthError, OAuthError, validation_failed
from functions._platform.auth.sessions import session_body
from functions._platform.auth.store.sessions import (
    Granted,
    Presented,
    end_session,
    exchange_refresh_token,
    lock_refresh_token,
    start_session,
)
from functions._platform.auth.store.users import Connection, find_user_by_email
from functions._platform.auth.users import User


class PasswordParams(Params):
    email: str = ""
    phone: str = ""
    password: str = ""


class RefreshParams(Params):
    refresh_token: str = ""


async def token(request: Request) -> Response:
    """``grant_type``: password, refresh_token, pkce; others are refused."""
    grant = GRANTS.get(request.query_params.get("grant_type", ""))
    if grant is None:
        raise AuthError(400, "invalid_credentials", "unsupported_grant_type")
    auth_of(request).limits.check(request, "token")
    return await grant(request)


async def by_password(request: Request) -> Response:
    """A session. An unknown address and a wrong password get the same answer in the same time."""
    auth = auth_of(request)
    params = await read_params(request, PasswordParams)
    if params.email and params.phone:
        raise validation_failed(
            "Only an email address or phone number should be provided on login."
        )
    if params.phone:
        raise AuthError(422, "phone_provider_disabled", "Phone logins are disabled")
    if not params.email:
        raise validation_failed("missing email or phone")
    if not auth.settings.enable_email_signup:
        raise AuthError(422, "email_provider_disabled", "Email logins are disabled")
    async with auth.pool.connection() as connection:
        user = await find_user_by_email(connection, params.email.lower())
    # No connection is held meanwhile: a hash takes a hundred times as long as a statement.
    right = await auth.passwords.matches(params.password, user.encrypted_password if user else None)
    if user is None or not right:
        raise _invalid_credentials()
    _check_may_sign_in(user)
    async with auth.pool.connection() as connection:
        granted = await start_session(
            connection,
            user.id,
            "password",
            client_of(request),
            encrypted_password=user.encrypted_password,
        )
    if granted is None:  # deleted, or with another password, while the hash was computed
        raise _invalid_credentials()
    return JSONResponse({**session_body(request, granted), **_weakness(request, params.password)})


def _invalid_credentials() -> AuthError:
    return AuthError(400, "invalid_credentials", "Invalid login credentials")


def _check_may_sign_in(user: User) -> None:
    # Only to callers with the right password: a stranger must not learn that the address has an account.
    if user.is_banned:
        raise AuthError(400, "user_banned", "User is banned")
    if not user.is_confirmed:
        raise AuthError(400, "email_not_confirmed", "Email not confirmed")


def _weakness(request: Request, password: str) -> Mapping[str, Any]:
    """``weak_password`` for one that would be refused today: the app may ask for another."""
    try:
        auth_of(request).passwords.check_strength(password)
    except AuthError as error:
        if error.code == "weak_password":
            return {"weak_password": {"message": str(error), **error.more["weak_password"]}}
    return {}


async def by_refresh_token(request: Request) -> Response:
    """The session with a new refresh token (rotation).

    The old token is accepted for REUSE_INTERVAL_S more, and then gets the active one: a browser's tabs refresh at the
    same time. Later use means that a token was stolen, by the one or by the other who has it: the session ends.
    """
    auth = auth_of(request)
    params = await read_params(request, RefreshParams)
    if not params.refresh_token:
        raise OAuthError("invalid_request", "refresh_token required")
    async with auth.pool.connection() as connection, connection.transaction():
        presented = await lock_refresh_token(connection, params.refresh_token)
        if presented is None:
            raise _refused("refresh_token_not_found", "Refresh Token Not Found")
        _check_may_refresh(presented)
        refresh_token = await _next_token(request, connection, presented)
        if refresh_token is None:
            await end_session(connection, presented.session.id)
    if refresh_token is None:  # behind the commit: an exception inside would roll it back
        raise _refused("refresh_token_already_used", "Already Used")
    granted = Granted(presented.session, presented.user, refresh_token)
    return JSONResponse(session_body(request, granted))


def _check_may_refresh(presented: Presented) -> None:
    if presented.user.is_banned:
        raise _refused("user_banned", "User Banned")
    if presented.expired:
        raise _refused("session_expired", "Session Expired")


async def _next_token(request: Request, connection: Connection, presented: Presented) -> str | None:
    """The refresh token to answer with; None: ``presented`` may no longer be used."""
    if not presented.revoked:
        return await exchange_refresh_token(connection, presented, client_of(request))
    return presented.active_token if presented.reusable else None


def _refused(code: str, why: str) -> AuthError:
    return AuthError(400, code, f"Invalid Refresh Token: {why}")


class IdTokenParams(Params):
    provider: str = ""


async def by_id_token(request: Request) -> Response:
    """Refused: external providers are not served."""
    params = await read_params(request, IdTokenParams)
    if params.provider in PROVIDERS:
        name = params.provider
        raise AuthError(400, "provider_disabled", f'Provider (issuer "{name}") is not enabled')
    raise validation_failed(f'Custom OIDC provider "{params.provider[:50]}" not allowed')


async def by_web3(request: Request) -> Response:
    raise AuthError(422, "web3_provider_disabled", "Web3 provider is disabled")


GRANTS: Mapping[str, Callable[[Request], Awaitable[Response]]] = {
    "password": by_password,
    "refresh_token": by_refresh_token,
    "pkce": by_code,
    "id_token": by_id_token,
    "web3": by_web3,
}
