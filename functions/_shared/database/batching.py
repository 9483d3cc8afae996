"""Natural batching: what comes while a round trip is under way shares the next one. One alone goes at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from functions._shared.database.pool import DATABASE_DOWN

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """``run`` does up to ``most`` items together and answers for each, with what it is to raise where it failed.

    Where it raises for all of them, each is done alone, so that none spoils its neighbours; not when the database is
    down, as then it may be done already.
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
        """Its answer. It is done to the end also if whoever waits is cancelled, and only then is that passed on."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all())
        try:
            return await answer
        except asyncio.CancelledError:
            await asyncio.wait([self._running])
            raise

    async def _run_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            results = await self._results([item for item, _ in batch])
            for (_, answer), result in zip(batch, results, strict=True):
                if answer.done():
                    pass  # whoever waited was cancelled
                elif isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            return await self._run(items)
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            if len(items) == 1 or isinstance(error, DATABASE_DOWN):
                return [error] * len(items)
        return [(await self._results([item]))[0] for item in items]
