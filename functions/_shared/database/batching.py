"""Natural batching: items that arrive during a round trip share the next one; a lone item is sent at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from functions._shared.database.sqlstates import is_conflict, is_down

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Group(Generic[Item, Result]):
    """Items that came together, and their results once ``end`` was called with them."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.has_ended = False
        self.results: asyncio.Future[Sequence[Result | Exception]] = (
            asyncio.get_running_loop().create_future()
        )

    def end(self, results: Sequence[Result | Exception]) -> None:
        self.has_ended = True
        if not self.results.done():
            self.results.set_result(results)


class Batcher(Generic[Item, Result]):
    """``run`` does up to ``most`` items together and returns, for each, its result or the exception to raise.

    When ``run`` raises for a whole batch, its halves are run apart (bisection), so that a bad item does not fail its
    neighbours. Not so when the database is down: the batch may have been committed, its answer lost. The victim of a
    deadlock was rolled back, and its halves hold fewer locks.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        most: int,
    ) -> None:
        self._run = run
        self._most = most
        self._waiting: list[_Group[Item, Result]] = []
        self._running: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """The item's result."""
        [result] = await self.do_all([item])
        if isinstance(result, Exception):
            raise result
        return result

    async def do_all(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """Each item's result or exception, of items that come together and stay so, more than ``most`` as well.

        A cancelled caller's items are finished first: the cancellation is raised after that.
        """
        group: _Group[Item, Result] = _Group(items)
        self._waiting.append(group)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all())
        running = self._running
        try:
            # Not shielded: each hop from future to future is a further step of the event loop before the answer.
            return await group.results
        except asyncio.CancelledError:
            if not group.has_ended:
                group.results = asyncio.get_running_loop().create_future()
                either: list[asyncio.Future[Any]] = [group.results, running]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            raise

    async def _run_all(self) -> None:
        while self._waiting:
            groups = self._waiting[: self._fitting()]
            del self._waiting[: len(groups)]
            results = iter(await self._results([item for group in groups for item in group.items]))
            for group in groups:
                group.end([*islice(results, len(group.items))])

    def _fitting(self) -> int:
        """How many of the waiting groups have ``most`` items together; one at least."""
        items = 0
        for number, group in enumerate(self._waiting):
            items += len(group.items)
            if items > self._most:
                return max(1, number)
        return len(self._waiting)

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            return await self._run(items)
        except Exception as error:  # noqa: BLE001 - raised again in the caller
            if len(items) == 1 or (is_down(error) and not is_conflict(error)):
                return [error] * len(items)
        middle = len(items) // 2
        return [*await self._results(items[:middle]), *await self._results(items[middle:])]
