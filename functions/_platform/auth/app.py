"""The routes of /auth/v1, and what they share while the service is served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from functions._platform.auth.access_tokens import AccessTokens
from functions._platform.auth.context import Auth
from functions._platform.auth.delivery.mailers import open_mailer
from functions._platform.auth.endpoints.not_served import routes as not_served
from functions._platform.auth.endpoints.routes import routes
from functions._platform.auth.errors import HANDLERS
from functions._platform.auth.mailed.token_mails import TokenMails
from functions._platform.auth.passwords import Passwords
from functions._platform.auth.rate_limits import RateLimits
from functions._platform.auth.store.stale_rows import EVERY_S, delete_stale_rows
from functions._shared.database.periodic import periodically
from functions._shared.database.pool import make_pool
from functions._shared.resources import Resources
from functions._shared.web.function_app import function_app


@asynccontextmanager
async def open_auth(resources: Resources) -> AsyncIterator[Auth]:
    settings = resources.settings
    # Bulkhead: a flood of sign-ins, or an app's slow trigger on auth.users, must not starve the queue of connections.
    pool = make_pool(settings, min_size=0)
    await pool.open(wait=False)
    passwords = Passwords(settings.password_min_length)
    try:
        async with (
            open_mailer(settings) as mailer,
            periodically(resources.supervisor, pool, delete_stale_rows, EVERY_S),
        ):
            yield Auth(
                settings=settings,
                pool=pool,
                authenticator=resources.auth,
                access_tokens=AccessTokens(settings),
                passwords=passwords,
                limits=RateLimits(settings),
                mails=TokenMails(settings, pool, mailer),
                mailer=mailer,
            )
    finally:
        passwords.close()
        await pool.close()


app = function_app([*routes, *not_served], handlers=HANDLERS)
