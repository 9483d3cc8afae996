"""The poller's alarm: it rings at the earliest moment that was named, and never later than it was set."""

import asyncio
from contextlib import suppress

import pytest

from functions._shared.alarm import Alarm


@pytest.fixture
async def alarm() -> Alarm:
    return Alarm()


async def test_it_rings_when_it_was_set_to(alarm):
    alarm.set(0.01)
    async with asyncio.timeout(5):
        await alarm.wait()


async def test_one_that_sleeps_is_woken_by_what_falls_due_sooner(alarm):
    alarm.set(3600)
    sleeper = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    alarm.expect(0)
    async with asyncio.timeout(5):
        await sleeper


async def test_what_was_expected_before_the_wait_counts(alarm):
    alarm.set(3600)
    alarm.expect(0)
    async with asyncio.timeout(5):
        await alarm.wait()


async def test_what_falls_due_later_postpones_nothing(alarm):
    alarm.set(0.01)
    alarm.expect(3600)
    async with asyncio.timeout(5):
        await alarm.wait()


async def test_a_later_wake_up_of_two_does_not_ring_early(alarm):
    alarm.set(3600)
    sleeper = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    alarm.expect(1800)
    await asyncio.sleep(0.02)
    assert not sleeper.done()
    sleeper.cancel()


async def test_what_falls_due_just_behind_a_look_does_not_wait_for_the_one_after(alarm):
    alarm.set(0.01)
    alarm.expect(0.05)
    await alarm.wait()
    alarm.set(3600)
    async with asyncio.timeout(5):
        await alarm.wait()


async def test_what_is_due_together_rings_together(alarm):
    alarm.set(3600)
    for number in range(1000):
        alarm.expect(0.05 + number * 1e-6)
    rings = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            while True:
                await alarm.wait()
                rings += 1
                alarm.set(3600)
    assert 1 <= rings <= 3
