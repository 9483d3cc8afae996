"""Rate limit hints: how long a 429 asks to wait, by its headers, its body or its text; bounded."""

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 3600.0
"""Cap of a requested wait."""
ABSURD_WAIT_S = 86_400.0
"""A longer wait is taken for an error and ignored: one answer must not block every worker."""
EPOCH_S, EPOCH_MS = 1e9, 1e12
"""From here on a reset is a point in time, in seconds or milliseconds since 1970, and no distance."""
RESETS = (
    "ratelimit-reset",
    "x-ratelimit-reset-after",
    "x-ratelimit-reset",
    "x-ratelimit-reset-requests",
)
HEADERS = ("retry-after-ms", "retry-after", "ratelimit", *RESETS)
"""RateLimit is IETF's: ``"default";r=0;t=30``, in older drafts ``limit=100, remaining=0, reset=30``."""

_NUMBER = re.compile(r"\d{1,15}(\.\d{1,9})?", re.ASCII)
_PART = r"\d{1,9}(?:\.\d{1,9})? ?(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)"
_DURATION = re.compile(rf"(?:{_PART}(?:\(s\))? ?)+", re.ASCII | re.IGNORECASE)
_PARTS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|milli|s|m|h)", re.ASCII | re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_IN_TEXT = re.compile(
    rf"\b(?:resets?|available|again|retry|wait)\b[ \w]{{0,12}}?:? ?~?((?<!\d){_PART}(?: ?{_PART})*)(?!\w)",
    re.ASCII | re.IGNORECASE,
)
_RATE_LIMIT = re.compile(r"\b(?:t|reset)\s*=\s*(\d{1,9})", re.ASCII)
_RATE = re.compile(r"reduced to (\d{1,6}) requests per minute with a burst of 1\b", re.ASCII)


def wait_s(headers: Mapping[str, str], body: object, text: str) -> float | None:
    """The wait that a 429 asks for, in seconds, an hour at most. ``headers`` are those of HEADERS, in lower case.

    None where nothing states a wait that makes sense: positive, and at most a day.
    """
    for seconds in _stated(headers, body, text):
        if seconds is not None and 0 < seconds <= ABSURD_WAIT_S:
            return min(seconds, MAX_WAIT_S)
    return None


def spacing_s(text: str) -> float | None:
    """Seconds between two creates, where a 429 says that the account is held to a rate without bursts."""
    rate = _RATE.search(text)
    return 60 / int(rate[1]) if rate and int(rate[1]) else None


def _stated(headers: Mapping[str, str], body: object, text: str) -> Iterator[float | None]:
    """Every wait that is stated, the most trustworthy first: Retry-After, the body, the text, RateLimit headers."""
    milliseconds = _number(headers.get("retry-after-ms"))
    yield None if milliseconds is None else milliseconds / 1000
    yield _retry_after(headers.get("retry-after"))
    yield _retry_after(body.get("retry_after") if isinstance(body, dict) else None)
    found = _IN_TEXT.search(text)
    yield _duration(found[1]) if found else None
    limit = _RATE_LIMIT.search(headers.get("ratelimit", ""))
    yield float(limit[1]) if limit else None
    for name in RESETS:
        yield _reset(headers.get(name))


def _retry_after(hint: object) -> float | None:
    """A number of seconds, a duration, or an HTTP date."""
    number = _number(hint)
    if number is not None or not isinstance(hint, str):
        return number
    if _DURATION.fullmatch(hint.strip()):
        return _duration(hint)
    try:
        return (parsedate_to_datetime(hint) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a time zone
        return None


def _reset(hint: str | None) -> float | None:
    """Seconds until a reset: a distance, a duration (``6m0s``), or a point in time since 1970."""
    number = _number(hint)
    if number is None:
        return _duration(hint) if hint and _DURATION.fullmatch(hint.strip()) else None
    if number >= EPOCH_MS:
        return number / 1000 - time.time()
    return number - time.time() if number >= EPOCH_S else number


def _number(hint: object) -> float | None:
    if isinstance(hint, bool) or not isinstance(hint, str | int | float):
        return None
    if isinstance(hint, str):
        return float(hint) if _NUMBER.fullmatch(hint.strip()) else None
    return float(hint)


def _duration(written: str) -> float:
    """Seconds of ``1.5 seconds``, ``1 second(s)``, ``350ms``, ``6m0s``."""
    return sum(float(count) * _SECONDS[unit.casefold()] for count, unit in _PARTS.findall(written))
