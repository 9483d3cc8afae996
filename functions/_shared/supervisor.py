"""Supervision of background loops: an exception restarts a loop, is logged with its traceback, and shows in /ready."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any

log = logging.getLogger(__name__)

RESTART_S = 1.0
"""Pause before a restart: a loop that fails at once must not take a core."""
STEADY_S = 60.0
"""A restarted loop counts as well after this long without another exception."""
CANCEL_AGAIN_S = 1.0
"""Pause before a second cancellation of a loop: the first was lost, or its last statement still runs."""


class Supervisor:
    """Starts loops as tasks. A loop that returns has done its work; one that raises is started again after RESTART_S.

    An asyncio task that dies of an exception says nothing until somebody awaits it: leases would no longer be
    renewed, and everything would look healthy.
    """

    def __init__(self) -> None:
        self._broken: dict[str, float] = {}
        """Loop → when it last failed, by the event loop's clock."""

    @property
    def trouble(self) -> str | None:
        """The loops that failed within the last STEADY_S, in words; None where all is well."""
        now = asyncio.get_running_loop().time()
        names = sorted(name for name, at in self._broken.items() if now - at < STEADY_S)
        return f"restarted after an error: {', '.join(names)}" if names else None

    def start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """``name``: for the log and /ready. ``run`` is called again for each restart."""
        return asyncio.create_task(self._supervise(name, run), name=name)

    @asynccontextmanager
    async def running(
        self, name: str, run: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[None]:
        """``start`` until the block ends: a loop of something that is served."""
        task = self.start(name, run)
        try:
            yield
        finally:
            await end([task])

    async def _supervise(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await run()
                return
            except Exception:
                log.exception("%s: bug; it starts again in %g s", name, RESTART_S)
            self._broken[name] = asyncio.get_running_loop().time()
            await asyncio.sleep(RESTART_S)


async def together(*loops: Coroutine[Any, Any, None]) -> None:
    """Run loops side by side until all have ended, or one raises.

    Not a TaskGroup, which cancels its tasks once: each further cancellation reaches all that are left.
    """
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(loops: Collection[asyncio.Task[None]]) -> None:
    """Cancel loops until they have ended, whatever they raise.

    Lost cancellation: psycopg, cancelled within a statement whose connection breaks meanwhile, raises OperationalError
    in its place, after which a loop goes on as after any loss of the database.
    """
    left: Collection[asyncio.Task[None]] = loops
    while left:
        for loop in left:
            loop.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*loops, return_exceptions=True)
