"""The routes of /auth/v1."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from functions._platform.auth.delivery.mailers import open_mailer
from functions._platform.auth.delivery.message import Mailer
from functions._shared.resources import Resources
from functions._shared.web.function_app import function_app


@dataclass(frozen=True)
class Auth:
    """What /auth/v1 needs while it is served."""

    resources: Resources
    mailer: Mailer


@asynccontextmanager
async def open_auth(resources: Resources) -> AsyncIterator[Auth]:
    async with open_mailer(resources.settings) as mailer:
        yield Auth(resources, mailer)


app = function_app([])
