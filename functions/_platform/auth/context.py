"""What the handlers of /auth/v1 share while the service is served."""

from dataclasses import dataclass

from starlette.requests import Request

from functions._platform.auth.access_tokens import AccessTokens
from functions._platform.auth.delivery.message import Mailer
from functions._platform.auth.mailed.token_mails import TokenMails
from functions._platform.auth.passwords import Passwords
from functions._platform.auth.rate_limits import RateLimits
from functions._platform.auth.store.sessions import Client
from functions._shared.auth.authenticator import Authenticator
from functions._shared.database.pool import Pool
from functions._shared.settings import Settings


@dataclass(frozen=True)
class Auth:
    """Immutable; handlers get it by ``auth_of``."""

    settings: Settings
    pool: Pool
    authenticator: Authenticator
    access_tokens: AccessTokens
    passwords: Passwords
    limits: RateLimits
    mails: TokenMails
    mailer: Mailer


def auth_of(request: Request) -> Auth:
    """From the lifespan state: the gateway keeps what a service has opened under its name."""
    auth: Auth = request.state.auth
    return auth


def client_of(request: Request) -> Client:
    host = request.client.host if request.client else None
    return Client(user_agent=request.headers.get("user-agent", ""), ip=host)
