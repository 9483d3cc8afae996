"""Passwords: strength, hashing and verification, in threads of their own.

bcrypt takes some 60 ms of a core, and releases the GIL meanwhile. Its threads are as many as the cores, at a lower
scheduling priority: a flood of sign-ins takes the time that the event loop, and so all other requests, leaves.
"""

import asyncio
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.imported_hashes import is_importable, matches_imported

COST = 10
"""GoTrue's work factor: 2^10 rounds."""
MAX_BYTES = 72
"""bcrypt reads no more of a password."""
BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")
"""Work factors to 16 (4 s): one of 31 would hold its thread for a day (denial of service)."""
NICENESS = 10
MAX_WAITING = 256
"""Hashes that may wait for a thread (load shedding): some seconds of them; later ones are refused."""

T = TypeVar("T")


class Passwords:
    """``min_length``: PASSWORD_MIN_LENGTH, in bytes as GoTrue counts."""

    def __init__(self, min_length: int) -> None:
        self._min_length = min_length
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "passwords", _be_nice)
        self._waiting = 0
        self._dummy = f"$2a${COST:02}${'.' * 53}"
        """Compared where there is no hash: an unknown address takes as long as a wrong password (timing attack)."""

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_strength(self, password: str) -> None:
        """Raises AuthError: validation_failed for one that is too long, else weak_password with its reasons."""
        size = len(password.encode())
        if size > MAX_BYTES:
            raise validation_failed(f"Password cannot be longer than {MAX_BYTES} characters")
        if size < self._min_length:
            raise AuthError(
                422,
                "weak_password",
                f"Password should be at least {self._min_length} characters.",
                more={"weak_password": {"reasons": ["length"]}},
            )

    async def hash(self, password: str) -> str:
        """Raises AuthError 503 while too many others wait."""
        return await self._in_thread(lambda: _hash(password))

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether ``hashed``, bcrypt's or an imported one, is of ``password``; None takes as long, and is false.

        Raises AuthError 503 while too many others wait.
        """
        same = await self._in_thread(lambda: _matches(password, hashed or self._dummy))
        return same and bool(hashed)

    async def _in_thread(self, step: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise AuthError(
                503,
                "unexpected_failure",
                "Too many sign-ins at the moment, please try again",
                headers={"Retry-After": "5"},
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, step)
        finally:
            self._waiting -= 1


def _be_nice() -> None:
    # On Linux a niceness is a thread's own, by its kernel id.
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


def is_hash(text: str) -> bool:
    """Whether an import's ``password_hash`` is of a kind that ``matches`` can verify."""
    return is_importable(text) or BCRYPT.fullmatch(text) is not None


def _hash(password: str) -> str:
    # 2a, as GoTrue writes it: every implementation of bcrypt reads that prefix.
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST, b"2a")).decode()


def _matches(password: str, hashed: str) -> bool:
    if is_importable(hashed):
        return matches_imported(password, hashed)
    if not BCRYPT.fullmatch(hashed):
        return False
    return bcrypt.checkpw(password.encode()[:MAX_BYTES], hashed.encode())
