"""Eager start of a coroutine: its first step runs at once, in the current task; most no-op handlers need no other.

As Python 3.12's eager tasks, for Python 3.11 and without a task: a coroutine that never suspends has ended after its
first step. The others go on in the task that has begun them, so ``asyncio.timeout`` and ``asyncio.current_task`` mean
that task throughout.
"""

from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """``work``, begun in a copy of the current context, as a task would. Raises what its first step raises.

    ``suspended``: whether it waits for something; then awaiting this object in the same task goes on with it.
    """

    result: T
    """What ``work`` has returned, unless it is suspended."""

    def __init__(self, work: Awaitable[T]) -> None:
        self._steps = work.__await__()
        self._run_in_context = copy_context().run
        self.suspended = False
        try:
            self._waited_for: Any = self._run_in_context(next, self._steps)
        except StopIteration as ended:
            self.result = ended.value
        else:
            self.suspended = True

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[..., Any]
        while True:
            try:
                step, argument = self._steps.send, (yield self._waited_for)
            except BaseException as error:  # noqa: BLE001 - thrown into ``work``, a cancellation too
                step, argument = self._steps.throw, error
            try:
                self._waited_for = self._run_in_context(step, argument)
            except StopIteration as ended:
                self.result = ended.value
                return self.result
