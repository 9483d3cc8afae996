"""The schema cache: the current catalogue, loaded at open and again when the schema changes."""

from functions._platform.rest.catalogue.model import Catalogue
from functions._shared.database.pool import Pool
from functions._shared.settings import Settings


class NotLoaded(Exception):
    """No catalogue yet: the database has not answered since the start (PGRST002)."""


class SchemaCache:
    """``run`` loads and listens until cancelled; ``pool`` is that of /rest/v1."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._current: Catalogue | None = None

    @property
    def current(self) -> Catalogue:
        """Raises NotLoaded."""
        if self._current is None:
            raise NotLoaded
        return self._current

    async def loaded(self, timeout_s: float) -> Catalogue:
        """``current``, once the first load has ended; raises NotLoaded when it fails, or after ``timeout_s``."""
        return self.current

    async def run(self) -> None:
        """Load, listen, reload."""
