"""What the handlers of /storage/v1 share while the service is served."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from starlette.requests import Request

from functions._shared.auth.access import Access
from functions._shared.database.as_role import as_role
from functions._shared.database.pool import Pool
from functions._shared.files.driver import Driver
from functions._shared.settings import Settings

if TYPE_CHECKING:
    from functions._platform.storage.render import Renderer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Storage:
    """Immutable; handlers get it by ``storage_of``. ``folder``: staged uploads are below it."""

    settings: Settings
    pool: Pool
    driver: Driver
    folder: Path
    renderer: "Renderer"
    login: str
    """The role of the pool's connections."""
    rowless: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where a file was kept without a row (``rowless.py``)."""

    @asynccontextmanager
    async def transaction(self, access: Access) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Under the caller's role; committed at the end of the block."""
        async with as_role(
            self.pool,
            access.role,
            access.claims_json,
            # Upstream's trigger protect_delete refuses a DELETE that does not come from Storage itself.
            storage__allow_delete_query="true",
        ) as connection:
            yield connection

    async def discard(self, versions: Iterable[UUID]) -> None:
        """Remove blobs that no row names any more; best effort, since the janitor removes the ones that stay."""
        try:
            await self.driver.remove(versions)
        except Exception as error:  # noqa: BLE001 - each driver has its own errors
            log.warning("blobs are left to the janitor: %s", type(error).__name__)


def storage_of(request: Request) -> Storage:
    storage: Storage = request.state.storage
    return storage
