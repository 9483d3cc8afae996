"""How long a transaction may be silent: its statement_timeout and a grace period, where there is one.

The server ends a statement itself; this limit is for a server that no longer does (frozen, or behind a proxy that keeps
the connection). Without a statement_timeout there is none: TCP keepalive alone tells a peer that is gone.
"""

import re
from collections.abc import Iterable

GRACE_S = 5.0
UNITS_S = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""PostgreSQL's units of time; without one a timeout is in milliseconds."""
DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|min|h|d|)\s*")


def limit_of(settings: Iterable[tuple[str, str]], statements: int) -> float | None:
    """In seconds, for so many statements under ``settings``; the last statement_timeout counts. None: no limit."""
    timeouts = [value for name, value in settings if name == "statement_timeout"]
    told = DURATION.fullmatch(timeouts[-1]) if timeouts else None
    each_s = float(told[1]) * UNITS_S[told[2]] if told else 0.0
    return statements * each_s + GRACE_S if each_s else None
