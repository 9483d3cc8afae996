"""Durations as Go writes them: 24h, 1h30m, 1.5h, -10s."""

import re
from datetime import timedelta

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(ns|us|µs|μs|ms|s|m|h)"
DURATION = re.compile(rf"([+-]?)((?:{_PART})+)")
MAX_S = 2**63 / 1e9
"""Go counts nanoseconds in 64 bits: 292 years."""


def parse_duration(text: str) -> timedelta:
    """Raises ValueError."""
    if text in {"0", "+0", "-0"}:
        return timedelta()
    found = DURATION.fullmatch(text)
    if not found:
        raise ValueError(f'time: invalid duration "{text[:50]}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, found[2]))
    if seconds >= MAX_S:
        raise ValueError(f'time: invalid duration "{text[:50]}"')
    return timedelta(seconds=-seconds if found[1] == "-" else seconds)
