"""A prediction of the provider's, read once into what is used of it: each field of its own type, or absent."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from functions._shared import foreign

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
STATUSES = TERMINAL | {"starting", "queued", "processing"}
UNKNOWN = "unknown"
"""A status that nobody knows, or that is no word: it counts as not ended, and the time limit ends it."""

PLAIN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,127}", re.ASCII)
"""Stands in paths of the API, so that it must not lead out of them."""
MAX_SECONDS = 86_400
MAX_ERROR = 2000
MAX_LOGS = 4096
"""The end of the logs: progress is told by the last line."""
MAX_ADDRESS = 8192
"""Of a file or a callback; what a data URI may hold is bounded by the answer it comes in."""
MAX_OUTPUTS = 64


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """``status`` is one of STATUSES, or UNKNOWN. ``seconds``: from the request to the end, as the provider measures it.

    ``error`` is text, whatever it came as; ``logs`` their end; ``output`` the pictures' addresses.
    """

    id: str
    status: str
    output: tuple[str, ...] = ()
    error: str = ""
    logs: str = ""
    seconds: float | None = None
    data_removed: bool = False
    model: str | None = None
    version: str | None = None
    input: dict[str, Any] = field(default_factory=dict)
    webhook: str | None = None


def read_prediction(document: Any) -> Prediction:
    """Raises ValueError for what is no prediction: no object, or without a status and an id that a path can hold."""
    if not isinstance(document, dict) or "status" not in document:
        raise ValueError("not a prediction")
    found, status = document.get("id"), document["status"]
    if not isinstance(found, str) or not PLAIN_ID.fullmatch(found):
        raise ValueError("not the id of a prediction")
    given = document.get("input")
    return Prediction(
        id=found,
        status=status if isinstance(status, str) and status in STATUSES else UNKNOWN,
        output=tuple(islice(_addresses(document.get("output")), MAX_OUTPUTS)),
        error=foreign.text(foreign.in_words(document.get("error")), MAX_ERROR),
        logs=(_word(document.get("logs")) or "")[-MAX_LOGS:],
        seconds=_seconds(document.get("metrics")),
        data_removed=document.get("data_removed") is True,
        model=_word(document.get("model"), MAX_ADDRESS),
        version=_word(document.get("version"), MAX_ADDRESS),
        input=given if isinstance(given, dict) else {},
        webhook=_word(document.get("webhook"), MAX_ADDRESS),
    )


def _seconds(metrics: Any) -> float | None:
    if not isinstance(metrics, dict):
        return None
    total = foreign.number(metrics.get("total_time"), 0, MAX_SECONDS)
    return (
        total if total is not None else foreign.number(metrics.get("predict_time"), 0, MAX_SECONDS)
    )


def _word(value: Any, most: int | None = None) -> str | None:
    """Text, unless it is longer than such a thing can be."""
    return value if isinstance(value, str) and (most is None or len(value) <= most) else None


def _addresses(output: Any) -> Iterator[str]:
    """An output is a list, a string, an object with url, or an object or list of those."""
    if isinstance(output, str):
        web = output.startswith(("https://", "http://"))
        if (web and len(output) <= MAX_ADDRESS) or output.startswith("data:"):
            yield output
    elif isinstance(output, dict):
        yield from _addresses(output["url"] if "url" in output else list(output.values()))
    elif isinstance(output, list):
        for part in output:
            yield from _addresses(part)
