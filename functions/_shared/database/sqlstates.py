"""What a database error means, decided by its SQLSTATE in one table: which part of the database it concerns.

An exception class alone does not tell: psycopg's OperationalError covers a lost connection as well as an array that is
too large, and 25006 (a read-only standby) is an InternalError. Refusals of our own SQL have the SQLSTATEs ``PT…``,
which PostgREST maps to HTTP as well; ``fenced`` and ``refused`` turn them into exceptions of ``errors.py``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import NoReturn

import psycopg
from psycopg_pool import PoolTimeout
from pydantic_core import from_json

from functions._shared.errors import (
    RETRY_AFTER_S,
    Conflict,
    KeyReused,
    LeaseLost,
    NotFound,
    PaymentRequired,
    TooManyRequests,
)
from functions._shared.metrics import recording


class Scope(Enum):
    """Which part of the database an error concerns, from the narrowest to the widest."""

    STATEMENT = "this statement"
    """Refused or invalid: the same statement fails again, others do not."""
    SESSION = "this session"
    """The connection is lost: another one may answer."""
    SCHEMA = "this schema"
    """Objects that the code needs are absent: sql/ is not applied, or of another version than the code."""
    DATABASE = "this database"
    """The server answers, but cannot do this now: contention, no free resource, read-only. A later attempt may do."""
    AWAY = "away"
    """No server answers."""


SCOPES: Mapping[str, Scope] = {
    "08": Scope.SESSION,  # connection exception; the only SQLSTATE that a pooler reports
    "25P03": Scope.SESSION,  # idle_in_transaction_session_timeout
    "25P04": Scope.SESSION,  # transaction_timeout
    "57P01": Scope.SESSION,  # admin_shutdown: pg_terminate_backend, a restart or a failover
    "57P02": Scope.SESSION,  # crash_shutdown
    "57P05": Scope.SESSION,  # idle_session_timeout
    "3D": Scope.SCHEMA,  # invalid_catalog_name: no such database
    "3F": Scope.SCHEMA,  # invalid_schema_name
    "42": Scope.SCHEMA,  # undefined function, table or column; insufficient privilege
    "25006": Scope.DATABASE,  # read_only_sql_transaction: a standby, or default_transaction_read_only
    "28": Scope.DATABASE,  # invalid authorization
    "40": Scope.DATABASE,  # serialization_failure, deadlock_detected
    "53": Scope.DATABASE,  # insufficient resources: too_many_connections, disk_full, out_of_memory
    "55": Scope.DATABASE,  # lock_not_available (lock_timeout), object_in_use
    "57": Scope.DATABASE,  # operator intervention: query_canceled (statement_timeout), database_dropped
    "58": Scope.DATABASE,  # system error: I/O
    "57P03": Scope.AWAY,  # cannot_connect_now: starting, stopping or in recovery
}
"""SQLSTATE, or its class (the first two characters), → scope. The longer entry counts; all others: STATEMENT."""

LACKS_FUNCTION = frozenset({"42883", "3F000"})
"""undefined_function, invalid_schema_name: the database has older sql/ than the code, or none."""


def scope_of(error: Exception) -> Scope | None:
    """The scope of a database error; None for an error of anything else."""
    if isinstance(error, PoolTimeout):  # no connection within POOL_WAIT_S
        return Scope.AWAY
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state is None:
        # Raised by the client itself: the connection is lost (OperationalError), or the call was wrong (all others).
        lost = isinstance(error, psycopg.OperationalError)
        return Scope.SESSION if lost else Scope.STATEMENT
    return SCOPES.get(state) or SCOPES.get(state[:2], Scope.STATEMENT)


def is_down(error: Exception) -> bool:
    """Whether the database cannot serve now: session, database or away. The same statement may succeed later."""
    return scope_of(error) in {Scope.SESSION, Scope.DATABASE, Scope.AWAY}


def is_lost(error: Exception) -> bool:
    """Whether no answer came: the connection was lost or never had. ``Pool.is_away`` asks whether a server is there."""
    return scope_of(error) in {Scope.SESSION, Scope.AWAY}


def is_conflict(error: Exception) -> bool:
    """Whether the server has rolled a statement back in favour of another one: a deadlock, a serialization failure."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith("40") and state != "40003"  # statement_completion_unknown


def lacks_function(error: psycopg.Error) -> bool:
    """Whether the database has no such function: sql/ is older than the code, or not applied."""
    return error.sqlstate in LACKS_FUNCTION


@asynccontextmanager
async def fenced(operation: str) -> AsyncIterator[None]:
    """For a worker's writes: a refusal as LeaseLost (PT409, a stale fencing token) or NotFound (PT404).

    ``operation``: the write's name, for /metrics.
    """
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "PT409":
            recording.lease_refused(operation)
            cancelled = error.diag.message_detail == "cancelled"
            raise LeaseLost(str(error.diag.message_primary), cancelled=cancelled) from None
        _raise_as(error, {"PT404": NotFound})


@asynccontextmanager
async def refused() -> AsyncIterator[None]:
    """For a caller's requests: a refusal (PT402, 404, 409, 422, 429) as the exception of that status."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "PT429":
            raise _over_quota(error) from None
        refusals = {
            "PT402": PaymentRequired,
            "PT404": NotFound,
            "PT409": Conflict,
            "PT422": KeyReused,
        }
        _raise_as(error, refusals)


def _over_quota(error: psycopg.Error) -> TooManyRequests:
    """429 with the RateLimit- headers; the error's DETAIL is ``{"quota": …, "retry_after": seconds or null}``."""
    told = from_json(error.diag.message_detail or "{}")
    # The quota of running generations has no reset time: any of them may end at any moment.
    after_s = int(told.get("retry_after") or RETRY_AFTER_S)
    headers = {
        "RateLimit-Limit": str(told["quota"]),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(after_s),
    }
    return TooManyRequests(
        str(error.diag.message_primary),
        retry_after_s=after_s,
        headers=headers,
        code="QUOTA_EXCEEDED",
    )


def _raise_as(error: psycopg.Error, refusals: Mapping[str, type[Exception]]) -> NoReturn:
    refusal = refusals.get(error.sqlstate or "")
    if refusal:
        raise refusal(str(error.diag.message_primary)) from None
    raise error
