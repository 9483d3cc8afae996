"""Change detection for server-sent events: one query (multiplexed polling) serves all open streams of the process."""

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
"""Seconds between polls without a hint, while LISTEN works and while it does not."""
SETTLE_S = 0.06
"""Until the second poll after a hint (throttled NOTIFY): a change within 50 ms of a hint sends none of its own."""
TERMINAL = frozenset({"completed", "failed", "cancelled"})

# xmin is the row version (MVCC): each update makes a new one, also an update by psql, so no trigger is needed.
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
    """One open stream. ``state`` is the row to send next; ``changed`` is set when it is new, and at a shutdown.

    ``version`` is that of the row which the client has seen last; None for a client that has seen none.
    """

    generation_id: UUID
    version: str | None
    state: dict[str, Any] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """One per process: ``run`` polls until cancelled, ``hint`` has it poll at once.

    ``hinted`` tells whether notifications of changes arrive at present.
    """

    def __init__(self, pool: Pool, hinted: Callable[[], bool]) -> None:
        self._pool = pool
        self._hinted = hinted
        self._watches: set[Watch] = set()
        self._poll_now = asyncio.Event()
        self.closing = False
        """Set at a shutdown: each stream ends at its next step."""

    def hint(self) -> None:
        """Some generation has changed."""
        if self._watches:
            self._poll_now.set()

    def open(self, generation_id: UUID, version: str | None) -> Watch:
        """Watch a generation for states other than ``version``; None: its present state is the first."""
        watch = Watch(generation_id, version)
        self._watches.add(watch)
        self._poll_now.set()
        return watch

    def close(self, watch: Watch) -> None:
        self._watches.discard(watch)

    def close_all(self) -> None:
        """Graceful shutdown: end all streams; clients reconnect to another process with their Last-Event-ID."""
        self.closing = True
        for watch in self._watches:
            watch.changed.set()

    async def run(self) -> None:
        settled = False
        while True:
            pause_s = SETTLE_S if settled else HINTED_S if self._hinted() else UNHINTED_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._poll_now.wait()
                settled = True
            except TimeoutError:
                settled = False
            self._poll_now.clear()
            if self._watches:
                try:
                    await self._tell()
                except psycopg.Error as error:
                    log.debug("streams: the database does not answer: %s", type(error).__name__)
                if settled:
                    # Load shedding: the query's cost grows with the streams, so its rate falls with them.
                    await asyncio.sleep(len(self._watches) / 20_000)

    async def _tell(self) -> None:
        """Ask once for all watched rows whose version has changed, and wake their streams."""
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
