"""Eager start: the first step runs at once; what waits goes on in the same task, in a context of its own."""

import asyncio
from contextvars import ContextVar

import pytest

from functions.process_jobs.eager import Begun

name = ContextVar("name", default="outside")


async def test_what_never_waits_has_ended_at_once():
    async def work() -> int:
        return 7

    begun = Begun(work())
    assert not begun.suspended
    assert begun.result == 7


async def test_what_waits_goes_on_when_it_is_awaited():
    ready = asyncio.get_running_loop().create_future()

    async def work() -> int:
        await asyncio.sleep(0)
        value: int = await ready
        return value + 1

    begun = Begun(work())
    assert begun.suspended
    ready.set_result(1)
    await begun
    assert begun.result == 2


async def test_its_context_is_its_own_in_every_step():
    seen = []

    async def work() -> None:
        name.set("inside")
        await asyncio.sleep(0)
        seen.append(name.get())

    begun = Begun(work())
    assert name.get() == "outside"
    await begun
    assert seen == ["inside"]
    assert name.get() == "outside"


async def test_its_task_is_the_one_that_began_it_so_that_a_time_limit_stops_it():
    tasks = []

    async def work() -> None:
        tasks.append(asyncio.current_task())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        tasks.append(asyncio.current_task())

    await Begun(work())
    assert tasks == [asyncio.current_task()] * 2
    assert tasks[0].cancelling() == 0


async def test_a_cancellation_reaches_it_and_may_be_answered():
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "tidied up"
        return "not reached"

    async def run() -> str:
        begun = Begun(work())
        await begun
        return begun.result

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "tidied up"


async def test_an_exception_of_any_step_is_raised():
    async def work(waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        Begun(work(waits=False))
    begun = Begun(work(waits=True))
    with pytest.raises(LookupError):
        await begun
