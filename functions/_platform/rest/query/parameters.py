"""A raw query string → its parameters, decoded and sorted by kind."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from functions._platform.rest import errors

NAMED = frozenset({"select", "columns", "on_conflict"})
"""Parameters of the root alone; of a repeated one the first counts."""
SEPARATOR = re.compile(rb"[&;]")

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Parameters:
    """Keys with values, in the order of the URL. A parameter without ``=`` is none."""

    named: dict[str, str] = field(default_factory=dict)
    """select, columns and on_conflict."""
    orders: Pairs = field(default_factory=list)
    limits: Pairs = field(default_factory=list)
    offsets: Pairs = field(default_factory=list)
    conditions: Pairs = field(default_factory=list)
    """Filters, and logic trees (``is_logic``)."""


def is_logic(key: str) -> bool:
    return key.rpartition(".")[2] in {"and", "or"}


def parameters_of(query_string: bytes) -> Parameters:
    """Raises RestError 22021 for NUL and for bytes that are no UTF-8."""
    found = Parameters()
    unnamed = {"order": found.orders, "limit": found.limits, "offset": found.offsets}
    seen = set()
    for raw_key, raw_value in decoded_pairs(query_string):
        key = text_of(raw_key)
        first = key not in seen
        seen.add(key)
        if raw_value is None:
            continue
        value = text_of(raw_value)
        if key not in NAMED:
            unnamed.get(key.rpartition(".")[2], found.conditions).append((key, value))
        elif first:
            found.named[key] = value
    return found


def decoded_pairs(query_string: bytes) -> list[tuple[bytes, bytes | None]]:
    """The pairs of a query string or form, percent-decoded; the value is None without ``=``."""
    pairs: list[tuple[bytes, bytes | None]] = []
    for part in filter(None, SEPARATOR.split(query_string)):
        key, equals, value = part.replace(b"+", b" ").partition(b"=")
        pairs.append((unquote_to_bytes(key), unquote_to_bytes(value) if equals else None))
    return pairs


def text_of(raw: bytes) -> str:
    """Text that PostgreSQL can store. Raises RestError 22021."""
    if b"\0" in raw:
        raise errors.unstorable_text("0x00")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise errors.unstorable_text(f"0x{raw[error.start]:02x}") from None
