"""Error classification: from what the provider said (HTTP status, text, hints) to a failure class and a wait.

The texts are Replicate's, matched case-insensitively. They are no stable contract, so text that matches nothing has a
class too. What follows from a class is in ``failures.py``.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 3600.0
"""Cap of a requested wait."""
ABSURD_WAIT_S = 86_400.0
"""A longer wait is taken for an error and ignored: one answer must not block every worker."""
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_WAIT = re.compile(
    r"(?:resets|available) in ~?(\d{1,9}(?:\.\d{1,9})?) ?s(?:ec|\b)", re.ASCII | re.IGNORECASE
)
_RATE = re.compile(r"reduced to (\d{1,6}) requests per minute with a burst of 1\b", re.ASCII)

# First match wins. Class, HTTP statuses, words of which the text has one; an empty tuple matches anything.
_ANSWERS: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...] = (
    ("busy", (429,), ()),
    ("out_of_credit", (402,), ()),
    ("out_of_credit", (), ("insufficient credit", "spend limit")),
    ("unauthorised", (401,), ()),
    ("forbidden", (403,), ()),
    ("unknown_model", (404, 410), ()),
    ("unknown_model", (422,), ("version does not exist", "invalid version", "version is disabled")),
    ("bad_input", (400, 405, 406, 409, 411, 413, 414, 415, 422), ()),
    ("transient", (), ()),
)
_ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("refused", ("flagged as sensitive", "nsfw", "(e005)", "content policy", "safety system")),
    ("busy", ("queue is full", "rate limit", "too many requests", "throttled")),
    ("out_of_credit", ("insufficient credit", "spend limit")),
    (
        "transient",
        (
            "please retry (code:",
            "unexpected error handling prediction",
            *(f"e{code}" for code in (1000, 6716, 8367, 8765, 9243, 9825, 9828)),
        ),
    ),
    ("model_failed", ()),
)


def class_of_answer(status: int, text: str) -> str:
    """The class of an HTTP response that is no success."""
    folded = text.casefold()
    return next(
        name
        for name, statuses, words in _ANSWERS
        if (not statuses or status in statuses)
        and (not words or any(word in folded for word in words))
    )


def class_of_ending(text: str) -> str:
    """The class of a prediction that failed with ``text``; transient for a failure without any text."""
    folded = text.casefold()
    if not folded.strip():
        return "transient"
    return next(
        name for name, words in _ENDINGS if not words or any(word in folded for word in words)
    )


def retry_after_s(header: str | None, body: object, text: str) -> float | None:
    """The wait that a 429 asks for, in seconds, an hour at most: by its header, its body's field, or its text."""
    in_body = body.get("retry_after") if isinstance(body, dict) else None
    in_text = _WAIT.search(text)
    for hint in (header, in_body, in_text and in_text[1]):
        seconds = _seconds(hint)
        if seconds is not None:
            return min(seconds, MAX_WAIT_S)
    return None


def _seconds(hint: object) -> float | None:
    """Seconds from a number or an HTTP date, the two forms of Retry-After; None for anything else, past or absurd."""
    if isinstance(hint, str) and not _NUMBER.fullmatch(hint.strip()):
        try:
            seconds = (parsedate_to_datetime(hint) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):  # TypeError: a date without a time zone
            return None
    elif isinstance(hint, str | int | float) and not isinstance(hint, bool):
        seconds = float(hint)
    else:
        return None
    return seconds if 0 < seconds <= ABSURD_WAIT_S else None


def spacing_s(text: str) -> float | None:
    """Seconds between two creates, where a 429 says that the account is held to a rate without bursts."""
    rate = _RATE.search(text)
    return 60 / int(rate[1]) if rate and int(rate[1]) else None
