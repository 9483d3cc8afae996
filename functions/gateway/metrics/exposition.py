"""The text of /metrics, and the loop that keeps this process's values current for the others'."""

import asyncio
import logging
from importlib.metadata import version

import psycopg
from prometheus_client import Info, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from functions._shared.database.version import SCHEMA_VERSION
from functions._shared.metrics import recording
from functions._shared.metrics.instruments import PREFIX, REGISTRY
from functions._shared.metrics.processes import registry_of_all
from functions._shared.resources import Resources
from functions.gateway.metrics.queue_gauges import QueueGauges
from functions.process_generation.ended import count_ended

log = logging.getLogger(__name__)

CURRENT_S = 1.0
"""How often values that wait are written: a scrape is answered by any of the processes, for all of them."""


class Exposition:
    """One to a process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._gauges = QueueGauges(resources.pool)

    async def keep_current(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                await self._bring_up_to_date()
                await asyncio.sleep(CURRENT_S)
        finally:
            recording.flush()

    async def text(self) -> bytes:
        """In Prometheus's text format (0.0.4)."""
        await self._bring_up_to_date()
        collectors: list[Collector] = [registry_of_all(REGISTRY), await self._gauges.collector()]
        # In a thread: merging the files of several processes takes tens of milliseconds.
        return await asyncio.to_thread(_text, collectors)

    async def _bring_up_to_date(self) -> None:
        resources = self._resources
        recording.flush()
        recording.pool_seen("main", resources.pool.get_stats())
        recording.pool_seen("generate-image", resources.legacy_pool.get_stats())
        try:
            await count_ended(resources.ended, resources.pool)
        except psycopg.Error as error:
            log.debug("what has ended is counted later: %s", type(error).__name__)


def _text(collectors: list[Collector]) -> bytes:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    build = Info(f"{PREFIX}_build", "The code, and the sql/ that it expects.", registry=registry)
    build.info({"version": version("picture-edge"), "sql": str(SCHEMA_VERSION)})
    return generate_latest(registry)
