"""The schema cache: the current catalogue, loaded at the start and again whenever the database says that it changed."""

import asyncio
import logging
import random

import psycopg
from psycopg import AsyncConnection

from functions._platform.rest.catalogue.load import load
from functions._platform.rest.catalogue.model import Catalogue
from functions._shared.database.listener import Listener
from functions._shared.database.pool import cut_after
from functions._shared.settings import Settings
from functions._shared.supervisor import together

log = logging.getLogger(__name__)

CHANNEL = "pgrst"
RELOADS = frozenset({"", "reload schema", "reload config"})
"""Payloads. The roles' settings are upstream's configuration, and part of the catalogue here."""
DEBOUNCE_S = 0.1
"""The least time between two loads: a migration notifies at each of its statements."""
CONNECT_S = 5
LOAD_S = 90.0
"""Longer than the query's statement_timeout."""
RETRY_S = 0.5
RETRY_MOST_S = 10.0
"""Retries back off exponentially between these two."""


class NotLoaded(Exception):
    """No catalogue yet: it could not be read since the start (PGRST002)."""


class SchemaCache:
    """``run`` loads, listens and reloads until cancelled. A catalogue that cannot be read leaves the former one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = settings.pgrst_db_uri or settings.supabase_db_url
        self._current: Catalogue | None = None
        self._stale = asyncio.Event()
        self._stale.set()
        self._tried = asyncio.Event()
        self.listener = Listener(
            settings.supabase_db_direct_url or self._address,
            {CHANNEL: self._notified},
            without="/rest/v1 sees a changed schema at the next start only",
        )

    @property
    def current(self) -> Catalogue:
        """Replaced as a whole, never changed: a request keeps the one that it began with. Raises NotLoaded."""
        if self._current is None:
            raise NotLoaded
        return self._current

    async def first(self) -> Catalogue:
        """``current``, after the first attempt to load it has ended: requests of the start wait for it."""
        await self._tried.wait()
        return self.current

    async def run(self) -> None:
        await together(self.listener.run(), self._reload())

    def _notified(self, payload: str) -> None:
        if payload in RELOADS:
            self._stale.set()

    async def _reload(self) -> None:
        pause_s = RETRY_S
        while True:
            await self._stale.wait()
            self._stale.clear()  # before the query: a notification during it asks for another one
            try:
                self._current = await self._load()
            except psycopg.Error as error:
                # Its message may name the login role and the host.
                cause = f"{type(error).__name__} ({error.sqlstate})"
                log.warning("the schema cache cannot be loaded: %s", cause)
                pause_s = await self._failed(pause_s)
            except Exception:
                # Such as a parse tree that another version of PostgreSQL writes otherwise.
                log.exception("the schema cache cannot be read")
                pause_s = await self._failed(pause_s)
            else:
                pause_s = RETRY_S
                self._tried.set()
                await asyncio.sleep(DEBOUNCE_S)

    async def _failed(self, pause_s: float) -> float:
        """Wait before the next attempt; the pause after that one."""
        self._stale.set()
        self._tried.set()
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
        return min(pause_s * 2, RETRY_MOST_S)

    async def _load(self) -> Catalogue:
        """Over a connection of its own: a backend keeps what it has read of the catalogues in memory for good."""
        connection = await AsyncConnection.connect(
            self._address.get_secret_value(),
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_S,
            application_name="picture-edge schema cache",
        )
        async with connection:
            with cut_after(connection, LOAD_S):
                return await load(connection, self._settings)
