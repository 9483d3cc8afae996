"""Who watches which generation, and what has changed for them: one query for all open streams of the process."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from functions._shared.database.pool import Pool

log = logging.getLogger(__name__)

HINTED_S, UNHINTED_S = 2.0, 0.25
"""How often it looks without a hint."""
SETTLE_S = 0.06
"""After a hint: hints are at least 50 ms apart, so a change just behind one gives none of its own."""
ENDED = frozenset({"completed", "failed", "cancelled"})

# By its row version: every change makes a new one, whoever makes it.
CHANGED = """
select generation.id, generation.xmin::text as version, generation.status, generation.stage, generation.progress,
    generation.error_message, case when generation.status = 'completed' then coalesce(
        (select jsonb_agg(image order by image.created_at) from public.images as image
         where image.generation_id = generation.id), '[]') end as images
from unnest(%s::uuid[], %s::text[]) as watched (id, version)
inner join public.image_generations as generation on generation.id = watched.id
where generation.xmin::text is distinct from watched.version
"""


@dataclass(eq=False)
class Watch:
    """One stream. ``state`` is what it has to tell next; ``changed`` is set when there is something, or at the end."""

    generation_id: UUID
    version: str | None
    state: dict[str, Any] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """One to a process; ``run`` it until cancelled. ``hint`` it when some generation has changed."""

    def __init__(self, pool: Pool, hinted: Callable[[], bool]) -> None:
        self._pool = pool
        self._hinted = hinted
        self._watches: set[Watch] = set()
        self._look = asyncio.Event()
        self.closing = False

    def hint(self) -> None:
        if self._watches:
            self._look.set()

    def open(self, generation_id: UUID, version: str | None) -> Watch:
        """Watch a generation from ``version`` on; None: from its present state."""
        watch = Watch(generation_id, version)
        self._watches.add(watch)
        self._look.set()
        return watch

    def close(self, watch: Watch) -> None:
        self._watches.discard(watch)

    def close_all(self) -> None:
        """The process is about to stop: clients come back to another, with the id of what they heard last."""
        self.closing = True
        for watch in self._watches:
            watch.changed.set()

    async def run(self) -> None:
        settled = False
        while True:
            pause_s = SETTLE_S if settled else HINTED_S if self._hinted() else UNHINTED_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._look.wait()
                settled = True
            except TimeoutError:
                settled = False
            self._look.clear()
            if self._watches:
                try:
                    await self._tell()
                except psycopg.Error as error:
                    log.debug("streams: the database does not answer: %s", type(error).__name__)
                if settled:
                    await asyncio.sleep(len(self._watches) / 20_000)  # many streams: fewer looks

    async def _tell(self) -> None:
        watches = list(self._watches)
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                CHANGED,
                (
                    [watch.generation_id for watch in watches],
                    [watch.version for watch in watches],
                ),
            )
            rows = {row["id"]: row for row in await cursor.fetchall()}
        for watch in watches:
            row = rows.get(watch.generation_id)
            if row and row["version"] != watch.version:
                watch.version = row["version"]
                watch.state = row
                watch.changed.set()
