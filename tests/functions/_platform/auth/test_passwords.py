"""Hashes in threads: a flood of them leaves the event loop its share of the processor."""

import asyncio
import os
import threading

from functions._platform.auth.passwords import NICENESS, Passwords


async def test_hashes_run_below_the_priority_of_all_else():
    passwords = Passwords(min_length=6)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    try:
        hashed = await passwords.hash("correct horse")
        right, wrong = await asyncio.gather(
            passwords.matches("correct horse", hashed), passwords.matches("another", hashed)
        )
        hashing = [one for one in threading.enumerate() if one.name.startswith("passwords")]
        assert (right, wrong) == (True, False)
        assert hashing
        assert {os.getpriority(os.PRIO_PROCESS, one.native_id or 0) for one in hashing} == {
            max(own, NICENESS)
        }
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    finally:
        passwords.close()
