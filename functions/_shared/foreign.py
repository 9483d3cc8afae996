"""Sanitise untrusted JSON at the border: storable text, finite numbers, bounded depth and size.

Every response and webhook of the provider comes through here, so that no code behind it has to check again.
PostgreSQL's text and jsonb store neither NUL nor lone surrogates, and jsonb no NaN; deep nesting ends in a
RecursionError, many small values in a memory bomb.
"""

import json
import math
import re
from typing import Any

MAX_DEPTH = 64
"""Nesting; deeper values become null. Python's JSON parser overflows its stack at about a thousand."""
MAX_VALUES = 500_000
"""Values of one document: ``[[],[],…`` takes twenty times its length in memory."""
MAX_DIGITS = 38
"""Digits of an integer; longer ones are read as floats: Python refuses integers of more than 4300 digits."""
REPLACED = "\N{REPLACEMENT CHARACTER}"

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
"""How JSON spells what _UNSTORABLE finds. It allows neither of them unescaped, and decoding UTF-8 makes none."""
# Possessive quantifiers (++, *+): no backtracking, linear time for any input (ReDoS).
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)
_NESTED = (dict, list)
_TOLD = ("message", "detail", "error", "title", "reason", "description", "msg", "text")
"""Keys under which error objects have their text, the most telling first."""


def text(value: str, most: int | None = None) -> str:
    """``value`` as storable text, truncated to ``most`` characters; NUL and lone surrogates become U+FFFD."""
    if most is not None and len(value) > most:
        value = f"{value[: most - 1]}…"
    if value.isascii() and "\0" not in value:
        return value
    return _UNSTORABLE.sub(REPLACED, value)


def number(value: Any, least: float, most: float) -> float | None:
    """``value`` where it is a number from ``least`` to ``most``; None otherwise, also for NaN, text and booleans."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if least <= value <= most else None


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON value sanitised: text storable, numbers finite, null in place of anything deeper than ``depth``."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(str(k)): plain(v, depth - 1) for k, v in value.items()} if depth else None
    if isinstance(value, list | tuple):
        return [plain(part, depth - 1) for part in value] if depth else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(raw: bytes) -> Any:
    """An untrusted JSON document, parsed and sanitised. Raises ValueError for invalid JSON or too many values."""
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise ValueError("too many values")
    written = raw.decode("utf-8-sig", "replace")
    try:
        value = _parsed(written)
    except RecursionError:
        return plain(_parsed(_shallow(written)))
    # Plain already, as nearly all are: to copy a page of a hundred predictions takes as long as to parse it.
    is_storable = "\\u" not in written or not _UNSTORABLE_ESCAPE.search(written)
    return value if is_storable and _is_shallow(value) else plain(value)


def in_words(value: Any) -> str:
    """An error of any JSON type as text for people: an object by its message and code, not as its JSON source."""
    if isinstance(value, str):
        return value.strip()
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, map(in_words, value[:10])))
    if isinstance(value, dict):
        told = next(filter(None, (in_words(value.get(key)) for key in _TOLD)), "")
        code = value.get("code")
        if told and isinstance(code, str | int) and str(code) not in told:
            return f"{told} ({code})"
        return told or json.dumps(value, ensure_ascii=False)
    return str(value)


def _parsed(written: str) -> Any:
    return json.loads(written, parse_int=_whole, parse_float=_finite, parse_constant=lambda _: None)


def _is_shallow(value: Any) -> bool:
    """Whether no object or list is nested deeper than MAX_DEPTH, level by level."""
    level = [value] if type(value) in _NESTED else []
    for _ in range(MAX_DEPTH):
        level = [
            part
            for one in level
            for part in (one.values() if type(one) is dict else one)
            if type(part) in _NESTED
        ]
        if not level:
            return True
    return False


def _whole(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= MAX_DIGITS else _finite(digits)


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _shallow(written: str) -> str:
    """The document's source with ``null`` in place of every object and list below MAX_DEPTH."""
    kept, depth, begin = [], 0, 0
    for found in _STRING_OR_BRACKET.finditer(written):
        if found[0] in ("[", "{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [written[begin : found.start()], "null"]
        elif found[0] in ("]", "}"):
            if depth == MAX_DEPTH + 1:
                begin = found.end()
            depth -= 1
    if depth:
        raise ValueError("its brackets do not match")
    return "".join([*kept, written[begin:]])
