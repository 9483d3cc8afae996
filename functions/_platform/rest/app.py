"""The routes of /rest/v1."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from functions._shared.resources import Resources
from functions._shared.web.function_app import function_app


@dataclass(frozen=True)
class Rest:
    """What /rest/v1 needs while it is served."""

    resources: Resources


@asynccontextmanager
async def open_rest(resources: Resources) -> AsyncIterator[Rest]:
    yield Rest(resources)


app = function_app([])
