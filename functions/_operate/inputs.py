"""What an address or a form asks for, read strictly: a value that is none is refused in words, never guessed at."""

from datetime import UTC, datetime

from functions._shared.errors import InvalidRequest

MOST = 2**63 - 1
"""PostgreSQL's bigint."""


def moment(name: str, text: str) -> datetime | None:
    """A time in ISO 8601, as <input type="datetime-local"> sends it; UTC where it names no zone; None for "".

    Raises InvalidRequest.
    """
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        # Within a day of its ends a year overflows in another zone.
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name} must be a time such as 2026-05-31T14:30") from None


def whole(name: str, text: str) -> int | None:
    """A whole number from 0 that PostgreSQL can hold; None for "". Raises InvalidRequest."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST))) or int(text) > MOST:
        raise InvalidRequest(f"{name} must be a whole number")
    return int(text)
