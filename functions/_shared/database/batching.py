"""Natural batching: items that arrive during a round trip share the next one; a lone item is sent at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from functions._shared.database.sqlstates import is_down

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """``run`` does up to ``most`` items together and returns, for each, its result or the exception to raise.

    When ``run`` raises for a whole batch, its items are run one by one, so that a bad item does not fail its
    neighbours. Not so when the database is down: the batch may have been committed, its answer lost.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        most: int,
    ) -> None:
        self._run = run
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """The item's result. A cancelled caller's item is finished first: the cancellation is raised after that."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all())
        try:
            return await answer
        except asyncio.CancelledError:
            await asyncio.wait([self._running])
            raise

    async def do_all(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """Run what is a batch already, at most ``most`` items: each one's result or exception, without a future."""
        return await self._results(items)

    async def _run_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            results = await self._results([item for item, _ in batch])
            for (_, answer), result in zip(batch, results, strict=True):
                if answer.done():
                    pass  # its caller was cancelled
                elif isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            return await self._run(items)
        except Exception as error:  # noqa: BLE001 - raised again in the caller
            if len(items) == 1 or is_down(error):
                return [error] * len(items)
        return [(await self._results([item]))[0] for item in items]
