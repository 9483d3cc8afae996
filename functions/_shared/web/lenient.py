"""Lenient reading of request fields: spellings whose meaning is unambiguous are read, and the reading is noted.

Forms and automation tools send empty strings for absent fields, and numbers as text. What could mean two things is left
as it is, for the strict validation to refuse.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from functions._shared import foreign

MAX_UNKNOWN = 20
"""Unknown fields that are named; of more, only their number."""
MAX_NAME = 60

_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,19})(?:\.0{1,9})?\s*")
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,9}(?:\.[0-9]{1,12})?)\s*")
_RATIO = re.compile(
    r"\s*([0-9]{1,4}(?:\.[0-9]{1,4})?)\s*[:x×*/]\s*([0-9]{1,4}(?:\.[0-9]{1,4})?)\s*", re.IGNORECASE
)

Reader = Callable[[str], Any]
"""Another spelling → its value; the text itself where it is none."""


def integer(text: str) -> int | str:
    """``"1024"`` and ``"1024.0"``: 1024."""
    match = _INTEGER.fullmatch(text)
    return int(match[1]) if match else text


def number(text: str) -> float | str:
    """``"7.5"``: 7.5. A comma could be a decimal or a thousands separator: left."""
    match = _NUMBER.fullmatch(text)
    return float(match[1]) if match else text


def file_format(text: str) -> str:
    """``"PNG"``, ``".png"``, ``"image/png"``: png."""
    return text.strip().casefold().removeprefix("image/").removeprefix(".").removesuffix("+xml")


def ratio(text: str) -> str:
    """``"16x9"``, ``"16/9"``: 16:9. ``"Match input image"``: match_input_image."""
    match = _RATIO.fullmatch(text)
    return f"{match[1]}:{match[2]}" if match else re.sub(r"[\s_-]+", "_", text.strip()).casefold()


def read(
    data: Mapping[str, Any],
    known: Collection[str],
    readers: Mapping[str, Reader],
    meant_when_empty: Collection[str],
) -> tuple[dict[str, Any], list[str]]:
    """``data`` as it is meant, and notes of what was read differently or is unknown.

    An empty text is an absent field, except in ``meant_when_empty``.
    """
    meant: dict[str, Any] = {}
    notes: list[str] = []
    unknown: list[str] = []
    for name, value in data.items():
        if name not in known:
            unknown.append(name)
            continue
        if isinstance(value, str) and not value.strip() and name not in meant_when_empty:
            continue
        meant[name] = value
        if name in readers and isinstance(value, str):
            meant[name] = readers[name](value)
            if meant[name] != value:
                notes.append(
                    f"{name}: {json.dumps(foreign.text(value, MAX_NAME))} read as {meant[name]}"
                )
    notes += [
        f"{foreign.text(name, MAX_NAME)}: not a field of a request; what the model itself takes goes into input"
        for name in unknown[:MAX_UNKNOWN]
    ]
    if len(unknown) > MAX_UNKNOWN:
        notes.append(
            f"input: {len(unknown) - MAX_UNKNOWN} further fields of the request are unknown"
        )
    return meant, notes
