"""One request's transaction, in one round trip wherever its end is known before its result.

reset; settings; pre-request function; statement  an implicit transaction, which the Sync commits
begin; …; set constraints all immediate; rollback  PGRST_DB_TX_END or ``Prefer: tx=rollback``
begin isolation level …; …; commit                 where the role or the function has an isolation level
begin; …        then    commit or rollback         where the number of rows decides: a second round trip
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.pq.abc import PGresult

from functions._platform.rest.connections.session import Session
from functions._platform.rest.sql.fragment import Statement

RESET = Statement(b"reset all", ())
"""Session settings that a former request's function left behind (SET, set_config(…, false)): another user's."""
COMMIT = Statement(b"commit", ())
ROLLBACK = Statement(b"rollback", ())
CHECK_DEFERRED = Statement(b"set constraints all immediate", ())
"""Deferred constraints are checked as a commit would check them."""
ISOLATION_LEVELS = frozenset({"read committed", "repeatable read", "serializable"})


@dataclass(frozen=True)
class Transaction:
    """``check`` raises an exception for results after which nothing may be committed. ``limit_s``: read timeout."""

    settings: Statement
    statements: Sequence[Statement]
    pre_request: Statement | None = None
    isolation: str | None = None
    rolls_back: bool = False
    check: Callable[[list[PGresult]], None] | None = None
    limit_s: float | None = None

    async def run(self, session: Session) -> list[PGresult]:
        """The results of ``statements``. Raises psycopg.Error, and what ``check`` raises."""
        try:
            async with asyncio.timeout(self.limit_s):
                return await self._run(session)
        except TimeoutError:
            raise psycopg.OperationalError("the server is silent") from None

    async def _run(self, session: Session) -> list[PGresult]:
        before = [RESET, self.settings, *([self.pre_request] if self.pre_request else [])]
        every = [*before, *self.statements]
        ending = [] if self.check else [COMMIT]
        if self.rolls_back:
            ending = [CHECK_DEFERRED, ROLLBACK]
        is_explicit = bool(self.isolation or self.rolls_back or self.check)
        try:
            if is_explicit:
                every = [_begin(self.isolation), *every, *ending]
            results = (await session.run(every))[len(before) - 1 :]
            if self.check:
                self.check(results)
                if not self.rolls_back:
                    await session.run([COMMIT])
        except Exception:
            if is_explicit and session.is_in_transaction:
                await session.run([ROLLBACK])
            raise
        return results


def _begin(isolation: str | None) -> Statement:
    assert isolation is None or isolation in ISOLATION_LEVELS
    level = f" isolation level {isolation}" if isolation else ""
    return Statement(f"begin{level}".encode(), ())
